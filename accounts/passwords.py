"""What a password must be, and the one form in which it is hashed and compared."""

import unicodedata

from django.apps import apps
from django.contrib.auth import password_validation as django
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from knox.models import AuthToken

from ticketbook.plain_text import something_to_see


def normal_form(password: str) -> str:
    """The same for all ways in which keyboards write the same text (NFKC, as NIST SP 800-63B advises)."""
    return unicodedata.normalize("NFKC", password)


class InNormalForm:
    """Makes a validator of Django's look at what will be hashed."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        super().validate(normal_form(password), user)  # type: ignore[misc]


class LongEnough(InNormalForm, django.MinimumLengthValidator):
    pass


class NotCommon(InNormalForm, django.CommonPasswordValidator):
    pass


class NotNumeric(InNormalForm, django.NumericPasswordValidator):
    pass


class UnlikeUser(InNormalForm, django.UserAttributeSimilarityValidator):
    pass


class NotBlank:
    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        if not something_to_see(password):
            raise ValidationError(
                "This password is only spaces and characters that cannot be seen.",
                code="password_blank",
            )

    def get_help_text(self) -> str:
        return "Your password can’t be only spaces."


class EndsTokens:
    """Refuses no password. Django tells its validators when a new one was saved, by whomever."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        pass

    def password_changed(self, password: str, user: AbstractBaseUser) -> None:
        AuthToken.objects.filter(user=user).delete()
        # A session would end by itself when it is used. Somebody who knew the old password may have asked for
        # another address.
        for model in ("Session", "AddressChange"):  # they are above this module
            apps.get_model("accounts", model).objects.filter(user=user.pk).delete()

    def get_help_text(self) -> str:
        return "A new password ends all sessions and API tokens of the account."
