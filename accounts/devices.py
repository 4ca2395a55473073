"""Devices that have logged in before. They are counted apart, so that no stranger keeps a customer out.

A browser has a signed cookie that names the accounts it has logged in to. It is sent to the log-in page only,
because visitors with a cookie get no copies of pages. A client of the API is known by its address.
"""

import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from accounts import throttle
from accounts.browsers import BROWSER, browser_of
from accounts.models import Session
from ticketbook.client_address import client_address, one_address
from ticketbook.page_middleware import OnlyPages
from ticketbook.postgres import clock

COOKIE = "device"
LOGGED_IN = "ticketbook.logged_in"
SALT = "accounts.devices"
COOKIE_SECONDS = 365 * 24 * 3600
ADDRESS_SECONDS = 30 * 24 * 3600
MOST_ACCOUNTS = 5  # in one cookie
USE_IS_NOTED_AFTER = timedelta(hours=1)


def device_of(request: HttpRequest | Request | None, account: str) -> tuple[str, ...] | None:
    """The device, if it has logged in to this account before; None for a stranger."""
    if request is None:
        return None
    if mark := _accounts(request).get(_short(account)):
        return "device", mark
    known = _known_address(request, account)
    return known if known and throttle.remembers(throttle.key_of("known", *known)) else None


def remember(request: HttpRequest | Request | None, account: str) -> None:
    """From now on this device is known to the account."""
    if request is None:
        return
    if isinstance(request, HttpRequest):
        request.META[LOGGED_IN] = account  # for DevicesMiddleware
    if known := _known_address(request, account):
        throttle.remember(throttle.key_of("known", *known), ADDRESS_SECONDS)


class DevicesMiddleware(OnlyPages):
    """Gives a browser the cookie of the account that it has logged in to, and notes when it was used."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        _note_use(request)
        if account := request.META.get(LOGGED_IN):
            if SESSION_KEY in request.session:
                request.session[BROWSER] = browser_of(request)
            accounts = _accounts(request)
            mark = accounts.pop(_short(account), None) or secrets.token_urlsafe(12)
            newest = [(_short(account), mark), *accounts.items()][:MOST_ACCOUNTS]
            staff_door = reverse("admin:login")
            response.set_cookie(
                COOKIE,
                signing.dumps(newest, salt=SALT),
                max_age=COOKIE_SECONDS,
                path=staff_door if request.path == staff_door else reverse("accounts:login"),
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        return response


def _note_use(request: HttpRequest) -> None:
    # Once in an hour, and never on the way of a booking.
    row = getattr(request.session, "row", None)
    if request.method != "GET" or row is None or row.user_id is None:
        return
    now = clock.now()
    if now - row.used_at > USE_IS_NOTED_AFTER:
        Session.objects.filter(pk=row.pk).update(used_at=now)


def _accounts(request: HttpRequest | Request) -> dict[str, str]:
    # The random mark of this device for each account, newest first.
    cookie: Any = request.COOKIES.get(COOKIE, "")
    try:
        return dict(signing.loads(cookie, salt=SALT, max_age=COOKIE_SECONDS))
    except signing.BadSignature:
        return {}


def _short(account: str) -> str:
    return throttle.key_of("account", account)[:16]


def _known_address(request: HttpRequest | Request, account: str) -> tuple[str, ...] | None:
    address = client_address(request)
    return ("address", account, str(one_address(address))) if address else None
