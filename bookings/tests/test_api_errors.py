"""Under /api/ every error is problem details, whoever made it: a view, a middleware, or the web server."""

import json
import socket

import pytest

from concerts.tests.factories import TicketTierFactory
from ticketbook.api.problems import OF_HTTP
from ticketbook.asgi import application
from ticketbook.tests.asgi import ask

CONCERTS = "/api/v1/concerts"


@pytest.fixture
def concert():
    return TicketTierFactory().concert


@pytest.fixture(params=["copied", "read"])
def get(request, settings, client, concert, our_host):
    """GET the availability, with copies (on the event loop once there is one) and without."""
    url = f"{CONCERTS}/{concert.pk}/availability"

    def copied(**headers):
        return ask(application, "GET", url, headers=headers.items())

    if request.param == "read":
        settings.COPIED_FOR_EVERYBODY = ()
        return lambda **headers: client.get(url, headers=headers)
    request.getfixturevalue("busy")
    return copied


def assert_problem(answer, status):
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    body = json.loads(answer.content)
    assert body.keys() >= {"type", "title", "status", "detail", "code"}
    assert body["status"] == status
    return body


# --- Preconditions ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_if_match_answers_only_what_the_client_knows(get):
    etag = get()["ETag"]
    for _ in range(2):  # made anew, then a copy
        body = assert_problem(get(**{"If-Match": '"another"'}), 412)
        assert body["code"] == "precondition_failed"
        for fits in (etag, f'"another", {etag}', "*"):
            answer = get(**{"If-Match": fits})
            assert (answer.status_code, answer["ETag"]) == (200, etag)
        assert get(**{"If-None-Match": etag}).status_code == 304


# --- Methods and addresses ----------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (CONCERTS, "GET, HEAD, OPTIONS"),
        ("/api/v1/users", "POST, OPTIONS"),
        ("/api/v1/health-check", "GET, HEAD, OPTIONS"),
        ("/api/v1/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_names_the_methods_and_has_no_body(client, path, allow):
    answer = client.options(path)
    assert (answer.status_code, answer.content, answer["Allow"]) == (204, b"", allow)


@pytest.mark.django_db
def test_options_of_somebodys_own_asks_for_a_token(client):
    assert assert_problem(client.options("/api/v1/bookings"), 401)["code"] == "not_authenticated"


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options", "trace"])
def test_the_page_of_the_api_refuses_other_methods_with_a_problem(client, method):
    answer = getattr(client, method)("/api/v1/docs")
    assert assert_problem(answer, 405)["code"] == "method_not_allowed"
    assert answer["Allow"] == "GET, HEAD"
    assert client.head("/api/v1/docs").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/nothing", f"{CONCERTS}/"])
@pytest.mark.parametrize("method", ["get", "post", "options", "delete"])
def test_an_unknown_address_is_a_problem(client, path, method):
    assert assert_problem(getattr(client, method)(path), 404)["code"] == "not_found"


@pytest.mark.django_db
def test_a_foreign_host_is_a_problem(client):
    assert_problem(client.get("/api/v1/health-check", headers={"Host": "evil.example"}), 400)


# --- The web server -----------------------------------------------------------------------------


def exchange(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    return int(line.split()[1]), dict(header.split(": ") for header in headers), json.loads(body)


@pytest.mark.django_db(transaction=True)
def test_what_the_web_server_refuses_itself_is_a_problem(start):
    port = start(WEB_CONCURRENCY="1").port
    hi = b"Host: localhost\r\n"
    for status, code, request in [
        (414, "uri_too_long", b"GET /api/v1/concerts?q=" + b"x" * 9000 + b" HTTP/1.1\r\n" + hi),
        (431, "headers_too_large", b"GET /api/v1/concerts HTTP/1.1\r\nX: " + b"x" * 9000),
        (431, "headers_too_large", b"GET /api/v1/concerts HTTP/1.1\r\n" + b"X: y\r\n" * 200),
        (400, "invalid", b"GET /api/v1/concerts<script>\r\n"),
        (400, "invalid", b"get /api/v1/concerts HTTP/1.1\r\n" + hi),
        (400, "invalid", b"GET /api/v1/concerts HTTP/1.1\r\nBad <b>: x\r\n"),
        (400, "invalid", b"POST /api/v1/users HTTP/1.1\r\n" + hi + b"Content-Length: -1\r\n"),
        (501, "not_implemented", b"POST /api/v1/users HTTP/1.1\r\nTransfer-Encoding: banana\r\n"),
    ]:  # fmt: skip
        got, headers, body = exchange(port, request + b"\r\n")
        assert (got, body["status"], body["code"]) == (status, status, code), request[:80]
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["Connection"] == "close"
        assert "<" not in json.dumps(body)


def test_every_sentence_says_what_to_do():
    assert all(detail.endswith(".") for _, detail in OF_HTTP.values())
