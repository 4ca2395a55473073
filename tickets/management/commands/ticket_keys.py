from argparse import ArgumentParser
from secrets import token_bytes
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from tickets import tokens


class Command(BaseCommand):
    help = "Print the public keys that a scanner of tickets needs, the signing one first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--new",
            action="store_true",
            help="print TICKET_KEYS with a new key before those in use; these are secrets",
        )

    def handle(self, *, new: bool, **options: Any) -> None:
        if new:
            secrets = [token_bytes(32), *settings.TICKET_KEYS]
            self.stdout.write("TICKET_KEYS=" + ",".join(secret.hex() for secret in secrets))
            return
        for key in tokens.our_keys():
            self.stdout.write(f"{key.id.hex()} {key.public_bytes.hex()}")
