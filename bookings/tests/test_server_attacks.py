"""What strangers send to a real web server to harm it or its visitors."""

import re
import resource
import socket
import time
import uuid
from contextlib import ExitStack, suppress

import pytest
from django.test import Client

from bookings.models import Booking
from bookings.tests.api_client import Api
from bookings.tests.pages import choice, drawn, post
from bookings.tests.site import KEEP_IDLE, at_once, tokens
from ticketbook.tests.running import environment, python, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"


def exchange(site, request, *, timeout=10):
    """All bytes that the server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=timeout) as client:
        client.sendall(request)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer


def get(target, *headers, method="GET"):
    lines = [f"{method} {target} HTTP/1.1", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def form(path, body, *headers, kind="application/x-www-form-urlencoded"):
    head = [
        f"Cookie: csrftoken={'a' * 32}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
    ]
    return get(path, "Host: localhost", *head, *headers, method="POST") + body


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


# --- Copies -------------------------------------------------------------------------------------

STRANGE_HEADERS = [
    "SCRIPT_NAME: //", "SCRIPT_NAME: /x", "Script-Name: /x", "X-Script-Name: /x", "PATH_INFO: /x",
    "X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl",
    "X-Forwarded-Host: evil.example", "X_Forwarded_Host: evil.example", "X-Forwarded-Port: 444",
    "X-Forwarded-Prefix: /evil", "Forwarded: host=evil.example;proto=https", "X-Forwarded-For: 6.6.6.6",
    "REMOTE_USER: staff@example.com", "Remote-User: staff@example.com", "HTTP_HOST: evil.example",
    "X-Original-URL: /admin/", "X-Rewrite-URL: /admin/", "X-HTTP-Method-Override: DELETE",
    "Accept: application/evil", "Accept-Language: he", "Accept-Encoding: gzip, br", "Range: bytes=0-9",
    "Cookie: csrftoken=evil", "Cookie: sessionid=evil", "Cookie: messages=evil", "Origin: null",
    "Authorization: Token evil", "Referer: https://evil.example/", "If-None-Match: *",
    "SCRIPT_URL: /x", "Content-Type: text/evil", "Upgrade-Insecure-Requests: 1", "DNT: 1",
]  # fmt: skip
STRANGE_TARGETS = [
    "//{}", "///{}", "/.{}", "/x/..{}", "http://localhost{}", "http://LOCALHOST{}", "https://localhost{}",
    "http://user@localhost{}", "http://evil.example{}", "{}?", "{}#x", "{}?SCRIPT_NAME=/x", "{}%00", "{};x",
    "http://localhost/{}", "http://[::1{}",
]  # fmt: skip


def comparable(answer):
    """The answer without what is new each time: the date, the CSRF token, the key, the seconds left."""
    answer = re.sub(rb'data-(opens|ends)-in="[^"]*"', b"", answer)
    answer = re.sub(rb"(?i)\r\n(date|set-cookie|etag): [^\r]*", b"", answer)
    return re.sub(rb'name="(csrfmiddlewaretoken|idempotency_key)" value="[\w-]+"', b"", answer)


def test_strange_requests_change_no_page_of_a_stranger(start, tier):
    """Each is sent so often that copies are made, also of what it asked for."""
    site = start(WEB_CONCURRENCY="1")
    paths = ["/", f"/concerts/{tier.concert_id}/", f"/api/v1/concerts/{tier.concert_id}"]
    plain = {path: get(path, "Host: localhost") for path in paths}
    before = {path: comparable(exchange(site, plain[path])) for path in paths}
    assert all(status_of(answer) == 200 for answer in before.values())
    strange = [(path, header) for header in STRANGE_HEADERS for path in ("{}", "///{}")]
    strange += [(target, "X: y") for target in STRANGE_TARGETS]
    for path in paths:
        for target, header in strange:
            bad = get(target.format(path), "Host: localhost", header).replace(CLOSE, b"")
            good = plain[path].replace(CLOSE, b"")
            with suppress(OSError):  # for some of them the server hangs up
                exchange(site, bad * 4 + good + plain[path])
            assert comparable(exchange(site, plain[path])) == before[path], (target, header)


def test_the_name_of_the_script_is_not_for_a_client_to_tell(start):
    site = start(WEB_CONCURRENCY="1")
    for path in ("/", "/accounts/login/", "/api/v1/concerts", "/static/css/site.css"):
        for header in ("SCRIPT_NAME: /evil", "SCRIPT_NAME: //evil.example", "Script-Name: /evil"):
            answer = exchange(site, get(path, "Host: localhost", header))
            assert status_of(answer) == 200
            assert b"evil" not in answer


def test_a_scheme_is_told_by_no_client_where_no_proxy_is_set_up(start, tier):
    site = start(WEB_CONCURRENCY="1")
    link = [get("/api/v1/concerts?limit=1", "Host: localhost", header)
            for header in ("X: y", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: on")]  # fmt: skip
    assert len({comparable(exchange(site, request)) for request in link}) == 1


# --- Bodies -------------------------------------------------------------------------------------

MULTIPART = "multipart/form-data; boundary=XX"
FILE = b'--XX\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\n'
MEGABYTES = 60


def send_a_large_file(site, path, *, chunked, kind=MULTIPART):
    """Sends all of it, whatever the server does meanwhile, and returns its answer."""
    piece = b"x" * 2**20
    head = ["Host: localhost", f"Cookie: csrftoken={'a' * 32}", f"Content-Type: {kind}"]
    length = len(FILE) + MEGABYTES * len(piece)
    head.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}")
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(get(path, *head, method="POST"))
        for part in [FILE, *[piece] * MEGABYTES]:
            client.sendall(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        answer = b""
        while more := client.recv(65536):
            answer += more
    return answer


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_a_large_file_is_refused_before_it_is_stored(start, tmp_path, chunked):
    """The client sends 60 MB to the end, and then reads the answer."""
    site = start(WEB_CONCURRENCY="1", TMPDIR=str(tmp_path))
    (worker,) = [each for each in site.workers() if each.name() != "postgres"]
    before, disk = worker.memory_info().rss, worker.io_counters().write_bytes
    for path in ["/accounts/login/", "/accounts/signup/", "/bookings/", "/admin/login/", "/nothing/",
                 "/payments/hosted/events", "/api/v1/users", "/api/v1/bookings"]:  # fmt: skip
        answer = send_a_large_file(site, path, chunked=chunked)
        assert status_of(answer) == 413, path
        assert b"\r\nconnection: close\r\n" in answer.lower()
        is_problem = b'"code":"too_large"' in answer
        assert is_problem == path.startswith("/api/")
    assert worker.memory_info().rss - before < 20 * 2**20
    assert worker.io_counters().write_bytes - disk < 2**20
    assert not any(tmp_path.iterdir())


def test_who_asks_first_is_refused_before_sending(start):
    site = start(WEB_CONCURRENCY="1")
    request = get("/accounts/login/", "Host: localhost", "Content-Length: 99999999",
                  "Expect: 100-continue", method="POST")  # fmt: skip
    assert exchange(site, request).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/accounts/signup/", "/admin/login/", "/bookings/"]
)
def test_a_small_file_is_refused_too_and_fields_alone_are_read(path):
    """A CSRF cookie is enough to make Django read the form."""
    strict = Client(enforce_csrf_checks=True)
    strict.cookies["csrftoken"] = "a" * 32
    body = FILE + b"hello\r\n--XX--\r\n"
    assert strict.post(path, body, content_type=MULTIPART).status_code == 413
    field = FILE.replace(b'; filename="a.txt"', b"").replace(b'"f"', b'"csrfmiddlewaretoken"')
    answer = strict.post(path, field + b"a" * 32 + b"\r\n--XX--\r\n", content_type=MULTIPART)
    assert answer.status_code in {200, 302, 404}


def test_a_form_that_is_too_large_or_has_too_many_fields_is_refused(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100_000
    strict = Client(enforce_csrf_checks=True)
    strict.cookies["csrftoken"] = "a" * 32
    for fields in ({f"f{i}": 1 for i in range(2000)}, {"email": "x" * 200_000}):
        answer = strict.post("/accounts/login/", fields)
        assert answer.status_code == 413
        assert b"too large" in answer.content


# --- Connections that say nothing ---------------------------------------------------------------


def slowest_livez(site, times=20):
    seconds = []
    for _ in range(times):
        before = time.monotonic()
        assert site.request("GET", "/livez")[0] == 200
        seconds.append(time.monotonic() - before)
        time.sleep(0.02)
    return max(seconds)


def is_closed(client):
    client.setblocking(False)
    try:
        while client.recv(1000):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_thousand_clients_that_never_speak_keep_nobody_waiting_and_are_closed(
    start, many_files
):
    site = start(WEB_CONCURRENCY="1")
    before = time.monotonic()
    with ExitStack() as stack:
        silent = []
        for i in range(2000):
            client = socket.create_connection(("127.0.0.1", site.port), timeout=10)
            silent.append(stack.enter_context(client))
            client.sendall(b"POST /api/v1/bookings HTTP/1.1\r\nHost: local" if i % 2 else b"")
        assert slowest_livez(site) < 1
        assert not any(is_closed(client) for client in silent[-10:])
        while not all(is_closed(client) for client in silent):
            assert time.monotonic() - before < 25
            time.sleep(0.5)
    assert time.monotonic() - before > 5
    assert slowest_livez(site) < 1


@pytest.mark.parametrize(
    "limits",
    [{"WEB_CONNECTIONS": "40"}, {"WEB_CONNECTIONS_PER_ADDRESS": "40"}],
    ids=["of all", "of one address"],
)
def test_where_there_is_no_room_the_longest_silent_client_makes_some(start, limits):
    site = start(WEB_CONCURRENCY="1", **{"WEB_CONNECTIONS_PER_ADDRESS": "1000"} | limits)
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=10))
            for _ in range(45)
        ]
        assert slowest_livez(site, times=5) < 1
        assert [is_closed(client) for client in silent[:6] + silent[-5:]] == [True] * 6 + [
            False
        ] * 5


def test_a_crowd_of_one_address_that_speaks_keeps_its_connections(start):
    """Only the new one is refused, as before."""
    site = start(WEB_CONCURRENCY="1", WEB_CONNECTIONS_PER_ADDRESS="20", **KEEP_IDLE)
    ask = get("/livez", "Host: localhost").replace(CLOSE, b"")
    with ExitStack() as stack:
        crowd = []

        def one_more():
            client = socket.create_connection(("127.0.0.1", site.port), timeout=10)
            client.sendall(ask)
            if not client.recv(1000).startswith(b"HTTP/1.1 200"):
                client.close()
                return False
            crowd.append(stack.enter_context(client))
            return True

        for _ in range(20):
            wait_until(one_more)  # the connection that waited for the start may still have a place
        with socket.create_connection(("127.0.0.1", site.port), timeout=10) as late:
            assert late.recv(1000).startswith(b"HTTP/1.1 503")
        for client in crowd:
            client.sendall(ask)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("soft", "hard", "clients", "files"), [(400, 400, 144, 400), (400, 5000, 1000, 1256)]
)
def test_there_are_never_more_clients_than_open_files_allow(soft, hard, clients, files):
    """Otherwise the server could accept nobody, and open no connection to its database."""
    script = f"""
import resource
from ticketbook.front.clients import as_many_as_files_allow
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(as_many_as_files_allow(1000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    process = python("-c", script, env=environment())
    assert process.communicate(timeout=30)[0].split() == [str(clients), str(files)]


# --- Requests that two readers could read differently -------------------------------------------

SECOND = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = {
    "length and chunks": b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SECOND,
    "two lengths": b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SECOND,
    "equal lengths": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + SECOND,
    "a list of lengths": b"Content-Length: 0, 0\r\n\r\n" + SECOND,
    "a signed length": b"Content-Length: +0\r\n\r\n" + SECOND,
    "a negative length": b"Content-Length: -1\r\n\r\n" + SECOND,
    "a length of 5,000 digits": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + SECOND,
    "another coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunked before another": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a tab before the value": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a folded line": b"X: y\r\n Content-Length: 44\r\n\r\n" + SECOND,
    "a chunk's size that is none": CHUNKED + b"\r\nzz\r\nabc\r\n0\r\n\r\n" + SECOND,
    "a negative chunk": CHUNKED + b"\r\n-1\r\nabc\r\n0\r\n\r\n" + SECOND,
    "a chunk's size with 0x": CHUNKED + b"\r\n0x0\r\n\r\n" + SECOND,
    "a chunk without its end": CHUNKED + b"\r\n3\r\nabcXX0\r\n\r\n" + SECOND,
    "a newline in a chunk's extension": CHUNKED + b"\r\n0;a=\n\r\n\r\n" + SECOND,
    "a host after the body": CHUNKED + b"\r\n0\r\nHost: evil\r\n\r\n" + SECOND,
    "a NUL in a header": b"X: a\0b\r\n\r\n" + SECOND,
    "a bare newline": b"X: y\n\r\n" + SECOND,
    "two hosts": b"Host: evil.example\r\n\r\n" + SECOND,
}  # fmt: skip


def test_an_ambiguous_request_is_refused_and_nothing_after_it_is_read(start, tmp_path):
    site = start(WEB_CONCURRENCY="1", LOG=tmp_path / "log")
    for name, rest in SMUGGLED.items():
        answer = exchange(site, b"POST /accounts/login/ HTTP/1.1\r\n" + HOST + rest)
        assert status_of(answer) in {400, 501}, name
        assert answer.count(b"HTTP/1.1 ") == 1, name
    assert "Traceback" not in site.log.read_text()


def test_no_answer_can_be_split_and_no_address_leads_away(start):
    site = start(WEB_CONCURRENCY="1")
    split = "%0d%0aX-Evil:%20yes"
    targets = [f"/concerts{split}", f"/?q=a{split}", f"/concerts/?cursor={split}", f"/{split}",
               f"/bookings/?next={split}", "//evil.example/concerts", "/%5cevil.example/concerts",
               f"/admin/?next={split}", "//evil.example/%2e%2e/admin"]  # fmt: skip
    for target in targets:
        head = exchange(site, get(target, "Host: localhost")).partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nx-evil:" not in head, target
        location = re.search(rb"\r\nlocation: *([^\r]*)", head)
        assert location is None or re.match(rb"/[^/\\]", location[1]), target


# --- The log ------------------------------------------------------------------------------------

MANY = b"&".join(b"f%d=1" % i for i in range(2000))
NOISE = [
    get("/api/admin/", "Host: localhost", "SCRIPT_NAME: /api"),
    get("/", "Host: evil"),
    get("/", f"Host: {'e' * 5000}"),
    get("/", "Host: evil\x1b[31m"),
    get("/api/v1/concerts", "Host: evil"),
    get("http://[::1/", "Host: localhost"),
    get("http://u@localhost/", "Host: localhost"),
    get("/%0aFAKE%20line", "Host: localhost"),
    get("/concerts/?q=%0aFAKE", "Host: localhost"),
    get("/livez", "Host: localhost", method="HEAD"),
    get("/", "Host: localhost", method="HEAD"),
    get("/admin/login/", "Host: localhost", method="HEAD"),
    get("/api/v1/docs", "Host: localhost", method="HEAD"),
    get("/%0d%0aFAKE", "Host: localhost", method="POST"),
    get("/", "Host: localhost", method="FOO"),
    get("/static/%00", "Host: localhost"),
    get("/static/../manage.py", "Host: localhost"),
    get("/bookings/", "Host: localhost", "Cookie: sessionid=\xff\xfe; messages=x; csrftoken=\"\\012\""),
    get("/admin/", "Host: localhost", "Cookie: sessionid=x\\000y"),
    get("/api/v1/bookings", "Host: localhost", "Authorization: Token \xff\xfe"),
    form("/accounts/login/", MANY),
    form("/admin/login/", MANY),
    form("/accounts/login/", FILE + b"x\r\n--XX--\r\n", kind=MULTIPART),
    form("/accounts/login/", b"x", kind="multipart/form-data; boundary="),
    form("/accounts/login/", b"x", kind="multipart/form-data"),
    form("/accounts/login/", FILE, kind=MULTIPART),
    form("/accounts/login/", b"email=x", kind="application/x-www-form-urlencoded; charset=utf-16"),
    form("/accounts/login/", b"email=x", "Referer: https://evil.example/\xff", "Origin: https://evil"),
    form("/api/v1/users", b"{", kind="application/json"),
    form("/api/v1/users", b"[" * 15_000, kind="application/json"),
    form("/payments/hosted/events", b"\xff", kind="application/json"),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET /\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    get("/" + "a" * 9000, "Host: localhost"),
    get("/", "Host: localhost", *["X: y"] * 200),
    get("/", "Host: localhost", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
]  # fmt: skip
HANG_UPS = [
    b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nema",
    b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /static/css/site.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
]


def test_what_clients_send_makes_at_most_one_short_line_and_no_error(start, tmp_path):
    site = start(WEB_CONCURRENCY="1", LOG=tmp_path / "log")
    for request in NOISE:
        before = len(site.log.read_bytes())
        answer = exchange(site, request)
        assert answer == b"" or status_of(answer) < 500, request[:80]
        lines = site.log.read_bytes()[before:].splitlines()
        assert len(lines) <= 1, request[:80]
        assert all(len(line) < 800 and line.isascii() for line in lines), request[:80]
    for request in HANG_UPS:
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(request)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    time.sleep(0.5)
    log = site.log.read_text()
    assert "Traceback" not in log
    assert not any(line.startswith("FAKE") for line in log.splitlines())
    assert "\x1b" not in log
    assert site.request("GET", "/livez")[0] == 200


# --- Forgery ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Referer": "https://evil.example/"},
    ],
    ids=["no token", "another origin", "no origin", "another page"],
)
def test_a_form_of_another_site_changes_nothing(ann, tier, headers):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ann)
    token = drawn(strict.get(f"/concerts/{tier.concert_id}/"), "csrfmiddlewaretoken")
    fields = choice(tier) | ({"csrfmiddlewaretoken": token} if headers.get("Origin") else {})
    for path in ("/bookings/", "/accounts/logout/"):
        assert strict.post(path, fields, headers=headers).status_code == 403
    assert not Booking.objects.exists()
    other = drawn(Client().get(f"/concerts/{tier.concert_id}/"), "csrfmiddlewaretoken")
    assert post(strict, choice(tier) | {"csrfmiddlewaretoken": other}).status_code == 403


def test_a_session_is_no_key_to_the_api(as_ann, tier):
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    assert as_ann.post("/api/v1/bookings", body, "application/json").status_code == 401
    assert not Booking.objects.exists()


def test_one_key_through_page_and_api_at_once_books_once(start, ledger, ann, tier, left):
    site = start(WEB_CONCURRENCY="2")
    (token,), key = tokens([ann]), uuid.uuid4()
    browser = Client()
    browser.force_login(ann)
    cookie = f"sessionid={browser.cookies['sessionid'].value}"
    fields = "&".join(f"{name}={value}" for name, value in choice(tier, 1, key).items())
    page = form("/bookings/", f"{fields}&csrfmiddlewaretoken={'a' * 32}".encode())
    page = page.replace(b"Cookie: ", f"Cookie: {cookie}; ".encode())

    def book(i):
        return site.book(token, tier, key)[0] if i % 2 else status_of(exchange(site, page))

    answers = at_once(book, 16)
    assert {201, 303} & set(answers)
    assert set(answers) <= {201, 303, 409}
    assert Booking.objects.count() == 1
    assert ledger.calls("charge") == 1
    assert left(tier) == 99


@pytest.mark.parametrize(
    "cursor", ["x", "AAAA", "bnVsbA==", "W10=", "eyJhIjoxfQ==", "%00", "-1", "9" * 400]
)
def test_a_forged_cursor_is_refused(ann, tier, cursor):
    api = Api(ann).client
    for path in ("/api/v1/concerts", "/api/v1/bookings"):
        assert api.get(f"{path}?cursor={cursor}").status_code == 400
