"""Start a command; what stops it becomes a sentence, not a traceback."""

from django.core.management import ManagementUtility


def run_command(argv: list[str]) -> None:
    ManagementUtility(argv).execute()
