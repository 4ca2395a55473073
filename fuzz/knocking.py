"""Requests with a hostile value in one position, and how they are sent."""

import json
import random
import re
import shlex
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

from fuzz.callers import CSRF, Caller
from fuzz.doors import Door, FormFields
from fuzz.values import BODIES, HEADER_VALUES, HEADERS, JSONS, METHODS, TEXTS

SECONDS = 15.0  # an answer that takes longer counts as none
FORM = b"application/x-www-form-urlencoded"


@dataclass
class Request:
    method: str
    target: bytes
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    body: bytes = b""
    said: str = ""  # which position has the hostile value

    def raw(self, port: int) -> bytes:
        given = {name.lower() for name, _ in self.headers}
        lines = [self.method.encode() + b" " + self.target + b" HTTP/1.1"]
        if "host" not in given:
            lines.append(f"Host: 127.0.0.1:{port}".encode())
        lines += [name.encode() + b": " + value for name, value in self.headers]
        if self.body or self.method in {"POST", "PUT", "PATCH"}:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"Connection: close", b"", self.body])

    def as_curl(self, port: int) -> str:
        """A command for bash that repeats the request."""
        words = ["curl", "-si", "--path-as-is", "-X", self.method]
        for name, value in self.headers:
            words += ["-H", _quoted(name.encode() + b": " + value)]
        if self.body:
            words += ["--data-binary", _quoted(self.body)]
        return " ".join([*words, _quoted(f"http://127.0.0.1:{port}".encode() + self.target)])


def _quoted(value: bytes) -> str:
    if value.isascii() and value.decode().isprintable():
        return shlex.quote(value.decode())
    return "$'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"


@dataclass
class Answer:
    status: int = 0  # 0: none came
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    seconds: float = 0

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


def send(request: Request, port: int) -> Answer:
    began, answer = time.monotonic(), b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
            connection.sendall(request.raw(port))
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError:  # a request that was refused early may reset the connection
        pass
    seconds = time.monotonic() - began
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    if not re.match(r"HTTP/1\.[01] \d{3}", line):
        return Answer(seconds=seconds)
    pairs = [header.partition(":")[::2] for header in lines]
    return Answer(int(line.split()[1]), [(n.lower(), v.strip()) for n, v in pairs], body, seconds)


def requests(door: Door, caller: Caller, page: str, dice: random.Random) -> Iterator[Request]:
    """Endless requests at one door; position and value are drawn by `dice`.

    `page` is what the door showed to this caller: its forms tell what may be posted to it.
    """
    fields = FormFields.of(page)
    positions = ["method", "header", "header", "cookie", "body"]
    positions += ["path"] * 3 * bool(door.parameters) + ["query"] * 3 * bool(door.query)
    positions += ["field"] * 6 * bool(door.fields) + ["form"] * 6 * bool(fields)
    while True:
        position = dice.choice(positions)
        request = Request(door.method, door.path(), usual_headers(door, caller))
        if door.fields:
            request.body = _json(_usual_body(door))
        HOSTILE[position](request, door, fields, dice)
        yield request


def usual_headers(door: Door, caller: Caller) -> list[tuple[str, bytes]]:
    if door.is_api:
        if not caller.token:
            return [("Content-Type", b"application/json")]
        token = f"Token {caller.token}".encode()
        return [("Content-Type", b"application/json"), ("Authorization", token)]
    return [("Cookie", caller.cookies())] if caller.session else []


def _usual_body(door: Door) -> dict[str, bytes]:
    usual = {
        "ticketTierId": door.values.get("tier_id", ""),
        "quantity": 1,
        "email": "new@fuzz.example",
        "password": "quite a long pass phrase",
        "name": "New",
    }
    return {name: json.dumps(usual[name]).encode() for name in door.fields if name in usual}


def _json(values: dict[str, bytes]) -> bytes:
    pairs = (json.dumps(name).encode() + b": " + value for name, value in values.items())
    return b"{" + b", ".join(pairs) + b"}"


def _hostile_method(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    request.method = dice.choice(METHODS)
    request.said = "method"


def _hostile_path(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    name, value = dice.choice(door.parameters), dice.choice(TEXTS)
    times = dice.choice([1, 1, 2])
    slash = dice.choice([b"", b"", b"", b"/", b"//", b"/../", b";x", b".json"])
    for _ in range(times):
        value = _escaped(value)
    request.target = door.path(**{name: value}) + slash
    request.said = f"{name} of the path"


def _escaped(text: bytes) -> bytes:
    return quote_from_bytes(text, safe="").encode()


def _hostile_query(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    names = dice.sample(door.query, min(len(door.query), dice.choice([1, 1, 1, 2, 3])))
    pairs = [name.encode() + b"=" + _escaped(dice.choice(TEXTS)) for name in names]
    if dice.random() < 0.1:
        pairs += pairs  # twice
    request.target += b"?" + b"&".join(pairs)
    request.said = f"{', '.join(names)} of the query"


def _hostile_header(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    name = dice.choice(HEADERS)
    request.headers = [header for header in request.headers if header[0] != name]
    request.headers.append((name, dice.choice(HEADER_VALUES)))
    request.said = f"header {name}"


def _hostile_cookie(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    value = dice.choice(TEXTS).replace(b"\r\n", b"")
    name = dice.choice([b"sessionid", b"csrftoken", b"messages", b"x"])
    request.headers.append(("Cookie", name + b"=" + dice.choice([value, b'"' + value + b'"'])))
    request.said = f"cookie {name.decode()}"


def _hostile_body(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    request.method = door.method if door.method != "GET" else "POST"
    request.body = dice.choice(BODIES)
    if not door.is_api:
        request.headers.append(("X-CSRFToken", CSRF.encode()))
    request.said = "body"


def _hostile_field(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    name = dice.choice(door.fields)
    body = _usual_body(door) | {name: dice.choice(JSONS)}
    if dice.random() < 0.05:
        body[dice.choice(TEXTS).decode("utf-8", "replace")] = b"1"
    request.body = _json(body)
    request.said = f"{name} of the body"


def _hostile_form(
    request: Request, door: Door, fields: dict[str, str], dice: random.Random
) -> None:
    names = dice.sample(sorted(fields), min(len(fields), dice.choice([1, 1, 2, 3])))
    form = {name: value.encode() for name, value in fields.items()}
    form |= {name: dice.choice(TEXTS) for name in names}
    form["csrfmiddlewaretoken"] = CSRF.encode()
    pairs = (_escaped(name.encode()) + b"=" + _escaped(value) for name, value in form.items())
    request.method, request.body = "POST", b"&".join(pairs)
    request.headers.append(("Content-Type", FORM))
    request.said = f"{', '.join(names)} of the form"


HOSTILE = {
    "method": _hostile_method,
    "path": _hostile_path,
    "query": _hostile_query,
    "header": _hostile_header,
    "cookie": _hostile_cookie,
    "body": _hostile_body,
    "field": _hostile_field,
    "form": _hostile_form,
}
