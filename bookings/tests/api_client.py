"""Booking requests to the API inside this process, on the event loop or by Django on a thread."""

import json
import uuid
from urllib.parse import unquote

from django.test import Client
from knox.models import AuthToken

from ticketbook.asgi import application
from ticketbook.tests.asgi import ask, only_django

URL = "/api/v1/bookings"

by_django = only_django()


def token_of(user):
    return AuthToken.objects.create(user)[1]


def book_at(front, tier, token, quantity=1, key=None, headers=(), **more):
    body = {
        "ticketTierId": str(tier.pk),
        "quantity": quantity,
        "idempotencyKey": str(key or uuid.uuid4()),
    }
    headers = [("Authorization", f"Token {token}"), *headers]
    return ask(front, "POST", URL, json.dumps(body).encode(), headers=headers, **more)


class Api:
    """A client of the API, logged in as one user."""

    client_class = Client

    def __init__(self, user):
        self.user = user
        self.client = self.client_class(headers={"Authorization": f"Token {token_of(user)}"})

    def get(self, path="", **headers):
        return self.client.get(URL + path, headers=headers)

    def post(self, body, path="", **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(URL + path, raw, content_type="application/json", headers=headers)

    def book(self, tier, quantity=1, key=None, **more):
        key = str(key or uuid.uuid4())
        body = {"ticketTierId": str(tier.pk), "quantity": quantity, "idempotencyKey": key}
        return self.post(body | more)


class FrontClient:
    """Sends its requests to the front, so the hot API answers POST /bookings on the event loop.

    It has as much of the interface of Django's test client as the tests here use.
    """

    def __init__(self, headers=None):
        self.headers = headers or {}

    def request(self, method, url, body=b"", headers=None, **more):
        path, _, query = url.removeprefix("http://testserver").partition("?")
        pairs = (self.headers | (headers or {})).items()
        query = query.encode()
        return ask(application, method, unquote(path), body, headers=pairs, query=query)

    def get(self, url, headers=None):
        return self.request("GET", url, headers=headers)

    def put(self, url):
        return self.request("PUT", url)

    def post(self, url, body=b"", content_type="", headers=None):
        body = body if isinstance(body, bytes) else body.encode()
        return self.request("POST", url, body, {"Content-Type": content_type, **(headers or {})})


def problem(response):
    """Check that the response is a problem (RFC 9457); returns its status and code."""
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["detail"]
    assert body["title"]
    assert body["type"]
    return response.status_code, body["code"]
