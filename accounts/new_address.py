"""To change the address of an account: a link at the new one confirms it, and the old one is told."""

from datetime import timedelta
from uuid import UUID, uuid4

from django.core import signing
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts import throttle
from accounts.models import AddressChange, User
from accounts.new_password import LinkUsed, PasswordChangedMeanwhile, locked
from accounts.signup import EmailTaken
from mail.outbox import post
from ticketbook.postgres import clock

CONFIRM, CHANGED = "address_confirm", "address_changed"  # kinds of mail
LIFETIME = timedelta(days=1)

links = signing.Signer(salt="accounts.new_address")


def ask_for_address(request: HttpRequest, user: User, address: str) -> None:
    """Mail a link to the new address. An earlier link ends.

    The password was checked. Raises EmailTaken, PasswordChangedMeanwhile and Throttled.
    """
    throttle.count_mail(request, address)
    if User.objects.accounts().filter(email=address).exists():
        raise EmailTaken
    with transaction.atomic():
        now = locked(user.pk)
        if now is None or now.password != user.password:
            raise PasswordChangedMeanwhile
        AddressChange.objects.filter(user=user).delete()
        change = AddressChange.objects.create(user=user, email=address)
        post(kind=CONFIRM, about=change.pk, to=change.email)


def link_part(change: AddressChange) -> str:
    return links.sign(change.pk.hex)


def change_of(link: str) -> AddressChange:
    """The change that a link asks for. Raises LinkUsed."""
    try:
        pk = UUID(links.unsign(link))
    except (signing.BadSignature, ValueError):
        raise LinkUsed from None
    alive = AddressChange.objects.filter(made_at__gt=clock.now() - LIFETIME, user__is_active=True)
    change = alive.select_related("user").filter(pk=pk).first()
    if change is None:
        raise LinkUsed
    return change


def confirm_address(change: AddressChange) -> None:
    """From now on the account has the new address. Raises LinkUsed and EmailTaken."""
    try:
        with transaction.atomic():
            # The user first, as whoever closes an account does it.
            user = locked(change.user_id)
            found, _ = AddressChange.objects.filter(pk=change.pk).delete()
            if user is None or not found:
                raise LinkUsed
            before, user.email = user.email, change.email
            user.save(update_fields=["email"])
            post(kind=CHANGED, about=user.pk, to=before, key=f"{CHANGED}:{uuid4()}")
    except IntegrityError as exc:
        if "user_email_unique" not in str(exc):
            raise
        raise EmailTaken from exc
