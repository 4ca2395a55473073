"""Hostile values, as bytes: what a client that means harm, or is broken, puts into every position."""

import json

MARK = "fuzz<b>'\"&"  # it must never come back unescaped in a page
A_UUID = "019b0000-0000-7000-8000-000000000000"

TEXTS = [
    b"",
    b" ",
    b"0",
    b"-1",
    b"1.5",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e400",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"9" * 400,
    b"true",
    b"null",
    b"[]",
    b"{}",
    b"\x00",
    b"a\x00b",
    b"%00",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xc0\xaf",  # overlong
    b"\xff\xfe",
    b"\xf4\x90\x80\x80",  # beyond Unicode
    "\u202etxt\u200b\u2066".encode(),  # right to left, no width
    "\ufeff\ufffe\uffff".encode(),
    "👩‍👩‍👧‍👦🎫".encode(),
    "e\u0301ñÅﬁ".encode(),
    b"\r\nSet-Cookie: fuzz=1",
    b"%0d%0aSet-Cookie:%20fuzz=1",
    b"' OR 1=1 --",
    b"'; SELECT pg_sleep(30) --",
    b"{{7*7}}{% debug %}${7*7}",
    MARK.encode(),
    b"<script>alert(1)</script>",
    b"javascript:alert(1)",
    b"../../../../etc/passwd",
    b"//evil.example/",
    b"https://evil.example/",
    b"\\\\evil.example\\x",
    b"0000-01-01",
    b"0001-01-01",
    b"9999-12-31",
    b"10000-01-01",
    b"2026-02-30",
    b"0001-01-01T00:00:00+23:59",
    b"9999-12-31T23:59:59-23:59",
    A_UUID.encode(),
    A_UUID.upper().encode(),
    A_UUID.replace("-", "").encode(),
    f"{{{A_UUID}}}".encode(),
    f"urn:uuid:{A_UUID}".encode(),
    b"user_0",
    b"user_" + b"x" * 300,
    b"MjAyNi0wMS0wMXww",  # base64, as a cursor may be
    b"x" * 7000,
    "ü".encode() * 2000,
    b"_00",
    b"__class__",
    b"%s%n%x",
    b"*",
    b"id__in=",
]

# What is put into a JSON body for a field. `Raw` is not JSON.
DEEP = "[" * 2000 + "]" * 2000
JSONS: list[bytes] = [
    b"null", b"true", b"0", b"-1", b"2", b"1.0", b"1e400", b"-0", b"9223372036854775808", b"1" * 5000,
    b"NaN", b"Infinity", b"[]", b"[1]", b"{}", b'{"a": 1}', b'""', b'" "', b'"\\u0000"', b'"\\ud800"',
    b'"\\udc00\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'"2"', DEEP.encode(), b'"' + b"x" * 9000 + b'"',
    *(json.dumps(text.decode("utf-8", "replace")).encode() for text in TEXTS if len(text) < 100),
]  # fmt: skip

# Whole bodies of a request.
BODIES: list[bytes] = [
    b"", b"{", b"[]", b"null", b'"x"', b"\x00", b"\xff\xfe{\x00}\x00", b"{}" * 100, DEEP.encode(),
    b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"quantity": 1, "quantity": 2}', b"x" * 20_000,
    b'{"__proto__": {"a": 1}}', b"a=1&a=2&=&%", b"--x\r\n\r\n--x--",
]  # fmt: skip

HEADERS = [
    "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Encoding", "Content-Type",
    "Cookie", "Expect", "Forwarded", "Host", "Idempotency-Key", "If-Match", "If-Modified-Since",
    "If-None-Match", "If-Range", "If-Unmodified-Since", "Origin", "Range", "Referer", "User-Agent",
    "X-CSRFToken", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-HTTP-Method-Override",
    "X-Requested-With", "HX-Request", "X-Webhook-Signature", "Stripe-Signature",
]  # fmt: skip

HEADER_VALUES = [
    *TEXTS,
    b"bytes=0-",
    b"text/html",
    b"application/xml;q=nan",
    b"gzip;q=-1, *",
    b"Token x",
    b"Token " + b"0" * 64,
    b"Basic OjpA",
    b"multipart/form-data",
    b"multipart/form-data; boundary=" + b"x" * 300,
    b"application/json; charset=utf-7",
    b"application/x-www-form-urlencoded; charset=nothing",
    b"Thu, 99 Foo 2026 00:00:00 GMT",
    b'"' + A_UUID.encode() + b'"',
    b"sessionid=x; sessionid=y; csrftoken=\x01; messages=W1tdXQ==:x; =; ;",
    b'sessionid="a\\000b"; csrftoken="\\377"',
]

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FUZZ"]
