from argparse import ArgumentParser
from ipaddress import ip_address
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import throttle
from accounts.models import User
from ticketbook.client_address import one_address, one_network

COUNTED_BY_ADDRESS = ("log-in", "sign-up", "mail")


class Command(BaseCommand):
    help = "Let accounts and addresses try again at once that were told to wait (429)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "who", nargs="+", metavar="WHO", help="an e-mail address, or the address of a client"
        )

    def handle(self, *, who: list[str], **options: Any) -> None:
        found = throttle.forget([key for each in who for key in self._keys(each)])
        self.stdout.write(f"{found} counts were forgotten.")

    def _keys(self, who: str) -> list[str]:
        if "@" in who:
            account = User._meta.get_field("email").get_prep_value(who)
            users = User.objects.accounts().filter(email=account).values_list("pk", flat=True)
            return [
                throttle.key_of("log-in", "account", account),
                throttle.key_of("mail", account),
                *(throttle.key_of("own password", str(pk)) for pk in users),
            ]
        try:
            address = ip_address(who)
        except ValueError:
            raise CommandError(f"{who!r} is neither an e-mail address nor 192.0.2.1.") from None
        places = one_address(address), one_network(address)
        return [
            throttle.key_of(what, str(place)) for what in COUNTED_BY_ADDRESS for place in places
        ]
