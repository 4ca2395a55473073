from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers

from accounts.email_field import known_letters, one_form
from accounts.models import User
from ticketbook.api.strict import StrictCharField, StrictEmailField, StrictSerializer
from ticketbook.plain_text import plain_text


class EmailAddressField(StrictEmailField):
    def to_internal_value(self, data: Any) -> str:
        # Before the length is checked: in a few scripts the lower case is longer.
        return one_form(super().to_internal_value(data))


class SignUpSerializer(StrictSerializer):
    email = EmailAddressField(max_length=254, validators=[plain_text, known_letters])
    password = StrictCharField(max_length=128, trim_whitespace=False, write_only=True)
    name = StrictCharField(max_length=150, validators=[plain_text])

    def validate_password(self, password: str) -> str:
        # The name and the address as they came: all that is wrong is told at once.
        name, email = (str(self.initial_data.get(field, "")) for field in ("name", "email"))
        try:
            validate_password(password, User(name=name, email=email))
        except DjangoValidationError as exc:
            raise serializers.ValidationError(exc.messages, code="password_too_weak") from None
        return password


class LogInSerializer(StrictSerializer):
    email = EmailAddressField()
    password = StrictCharField(trim_whitespace=False, write_only=True)


class UserSerializer(serializers.ModelSerializer[User]):
    userId = serializers.CharField(source="public_id")

    class Meta:
        model = User
        fields = ["userId", "email", "name"]


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    expiry = serializers.DateTimeField()
    userId = serializers.CharField()
