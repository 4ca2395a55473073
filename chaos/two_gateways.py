"""gunicorn's settings in a run with two gateways: every other process sells by the payment page.

A site is like this while it changes from one gateway to another, process by process: new bookings go to the
gateway that PAYMENT_DEFAULT names for the process that takes them, and every process meets bookings of both.
"""

from runpy import run_path
from typing import Any

from ticketbook import settings

globals().update(run_path("gunicorn.conf.py"))


def post_fork(server: Any, worker: Any) -> None:
    # Before the process loads the site. Processes that replace others are counted on.
    settings.PAYMENT_DEFAULT = "hosted" if worker.age % 2 else "main"
