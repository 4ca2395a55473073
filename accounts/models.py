import secrets
from typing import Any, Self

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now

from accounts.email_field import EmailAddressField
from accounts.passwords import normal_form
from mail.composing import NEVER_REACHED
from ticketbook.plain_text import plain_text
from ticketbook.postgres.keys import primary_key


def new_public_id() -> str:
    return f"user_{secrets.token_hex(16)}"


TAKEN = "Somebody has signed up with this e-mail address already."


class UserQuerySet(models.QuerySet["User"]):
    def accounts(self) -> Self:
        """Those who can log in. Only they are meant where somebody is looked up by an address."""
        return self.filter(is_guest=False)

    def guests(self) -> Self:
        return self.filter(is_guest=True)

    def get(self, *args: Any, **kwargs: Any) -> "User":
        # Django's own commands, such as changepassword, ask all users for an address alone.
        if not args and kwargs.keys() == {"email"} and not self.query.has_filters():
            kwargs["is_guest"] = False
        return super().get(*args, **kwargs)


class UserManager(BaseUserManager["User"]):
    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)

    def accounts(self) -> UserQuerySet:
        return self.get_queryset().accounts()

    def guests(self) -> UserQuerySet:
        return self.get_queryset().guests()

    def get_by_natural_key(self, email: str | None, is_guest: bool = False) -> "User":
        return self.get(email=email, is_guest=is_guest)

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        # The command createsuperuser does not look by itself, because the unique rule has a condition.
        if self.accounts().filter(email=email).exists():
            raise ValidationError(TAKEN)
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A customer or a member of staff, who logs in with an e-mail address; or a guest.

    A guest is a customer without an account: an address that tickets are sent to (bookings/guests.py). The
    same address may have an account too.
    """

    id = primary_key()
    public_id = models.CharField(max_length=37, default=new_public_id, editable=False)
    email = EmailAddressField("e-mail address", max_length=254, validators=[plain_text])
    name = models.CharField(max_length=150, validators=[plain_text])
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("may use the back office", default=False)
    is_guest = models.BooleanField("is a guest", default=False, db_default=False, editable=False)
    date_joined = models.DateTimeField(db_default=Now(), editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["name"]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["email"],
                condition=Q(is_guest=False),
                name="user_email_unique",
                violation_error_message=TAKEN,
            ),
            models.UniqueConstraint(
                fields=["email"], condition=Q(is_guest=True), name="guest_email_unique"
            ),
            models.CheckConstraint(
                condition=Q(is_guest=False)
                | Q(is_staff=False, is_superuser=False, password__startswith="!"),
                name="guest_cannot_log_in",
            ),
            models.CheckConstraint(
                condition=models.Q(email=Lower(F("email"))), name="user_email_lowercase"
            ),
            models.UniqueConstraint(fields=["public_id"], name="user_public_id_unique"),
        ]

    def __str__(self) -> str:
        if not self.gets_mail and self.name:
            return f"{self.name} (no address)"
        return f"{self.email} (guest)" if self.is_guest else str(self.email)

    @property
    def gets_mail(self) -> bool:
        """False for somebody at the door who gave no address, and for a closed account."""
        return not self.email.endswith(NEVER_REACHED)

    def natural_key(self) -> tuple[Any, ...]:
        return (self.email, True) if self.is_guest else (self.email,)

    def validate_constraints(self, exclude: Any = None) -> None:
        # No form has this field, and without it nobody would be told that an address is taken.
        super().validate_constraints(exclude=set(exclude or ()) - {"is_guest"})

    def set_password(self, raw_password: str | None) -> None:
        super().set_password(raw_password and normal_form(raw_password))

    def check_password(self, raw_password: str | None) -> bool:
        checked, normal = self.password, raw_password and normal_form(raw_password)

        def hash_anew(_: str) -> None:
            # Not over a password that was set while this one was being checked.
            self.password = make_password(normal)
            User.objects.filter(pk=self.pk, password=checked).update(password=self.password)

        # An old hash was made of the text as it was typed.
        return check_password(normal, checked, hash_anew) or (
            normal != raw_password and check_password(raw_password, checked, hash_anew)
        )

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name


class Session(AbstractBaseSession):
    """A session of a browser. Its columns follow from its data (accounts/sessions.py)."""

    # Null: a visitor who is not logged in.
    user = models.ForeignKey(User, models.CASCADE, null=True, related_name="sessions")
    browser = models.CharField(max_length=50, blank=True)  # in plain words
    made_at = models.DateTimeField()
    used_at = models.DateTimeField()  # to the hour

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.sessions import SessionStore

        return SessionStore

    class Meta(AbstractBaseSession.Meta):
        pass


class AddressChange(models.Model):
    """Another address that a user wants to have, until a link at that address confirms it."""

    id = primary_key()
    user = models.OneToOneField(User, models.CASCADE, related_name="address_change")
    email = EmailAddressField("e-mail address", max_length=254)
    made_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.user} → {self.email}"


class Attempts(models.Model):
    """Attempts of one kind by somebody (accounts/throttle.py)."""

    key = models.CharField(primary_key=True, max_length=64)
    forgotten_at = models.DateTimeField()
    free_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key
