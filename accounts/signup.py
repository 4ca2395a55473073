from django.db import IntegrityError, transaction

from accounts.models import User
from ticketbook.errors import Refusal


class EmailTaken(Refusal):
    """Somebody has signed up with this e-mail address already. Log in, or use another one."""


def sign_up(*, email: str, password: str, name: str) -> User:
    """Make a customer. Raises EmailTaken, also for the loser of a race for one address."""
    try:
        with transaction.atomic():
            return User.objects.create_user(email, password, name=name)
    except IntegrityError as exc:
        if "user_email_unique" not in str(exc):
            raise
        raise EmailTaken from exc
