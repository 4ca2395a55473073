import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bookings.statement import BadStatement, read, unknown


class Command(BaseCommand):
    help = (
        "List what a payment gateway's statement has and these books have not, after a restore to an earlier "
        "moment. Changes nothing; exit code 1: there is something."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "statement",
            metavar="STATEMENT.csv",
            help="with the columns kind (charge or refund), key, booking, amount and at",
        )

    def handle(self, *, statement: str, **options: Any) -> None:
        lines = found = 0

        def counted() -> Any:
            nonlocal lines
            for line in read(Path(statement)):
                lines += 1
                yield line

        try:
            for sentence in unknown(counted()):
                found += 1
                self.stdout.write(sentence)
        except BadStatement as exc:
            raise CommandError(str(exc)) from None
        except OSError as exc:
            raise CommandError(f"{statement} cannot be read: {exc.strerror}.") from None
        self.stdout.write(
            f"{lines} lines of the statement; these books lack or contradict {found} of them."
        )
        if found:
            sys.exit(1)
