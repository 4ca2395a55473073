from django.db import IntegrityError, transaction

from accounts.models import User
from ticketbook.errors import Refusal


class EmailTaken(Refusal):
    """Somebody has signed up with this e-mail address already. Log in, or use another one."""


def sign_up(*, email: str, password: str, name: str) -> User:
    """Make a customer. Raises EmailTaken; of two who race for an address, one gets it."""
    try:
        with transaction.atomic():
            return User.objects.create_user(email, password, name=name)
    except IntegrityError as exc:
        if "user_email_unique" not in str(exc):
            raise
        raise EmailTaken from exc
