"""Start a command; what stops it becomes a sentence, not a traceback."""

import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import ManagementUtility
from django.db.utils import NotSupportedError, OperationalError


def run_command(argv: list[str]) -> None:
    ManagementUtility(argv).execute()
