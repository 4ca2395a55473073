"""A small emulator of Stripe for tests: the endpoints that bookings/gateways/stripe.py uses.

It speaks the HTTP that Stripe documents: form-encoded bodies, idempotency keys, errors as JSON. Nobody has
compared it with the real service. `Account` is the handle for tests: it plays the customer, and
`fail_next` spoils the next request:

    lose_request      no answer, and nothing happens
    lose_answer       no answer, but it happens
    wait              it happens when the test sets `account.go_on`, and is in progress until then
    cut_off           an answer that breaks off
    429, 500          an error; a 500 is kept under the idempotency key, as Stripe does
"""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlsplit

SECRET_KEY = "sk_test_emulator"
KEY_LIFETIME = 24 * 3600  # seconds for which an idempotency key is kept

SESSION_PARAMETERS = {
    "mode", "client_reference_id", "metadata", "payment_intent_data", "line_items", "currency",
    "allowed_payment_method_types", "adaptive_pricing", "success_url", "cancel_url", "expires_at",
}  # fmt: skip
REFUND_PARAMETERS = {"payment_intent", "amount", "metadata"}


class Refused(Exception):
    def __init__(self, message, *, status=400, type="invalid_request_error", **details):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": type, "message": message, **details}}


class Account:
    def __init__(self):
        self.lock = threading.RLock()
        self.clock = time.time
        self.sessions, self.intents, self.refunds, self.kept = {}, {}, {}, {}
        self.calls = []  # (method, path, parameters, idempotency key) of every request
        self.in_progress = set()
        self.go_on = threading.Event()
        self.faults = []
        self.refund_status = "succeeded"
        self.numbers = count(1)

    # What a test does

    def fail_next(self, fault, request=""):
        """Spoil the next request, or the next one like "POST /v1/refunds"."""
        self.faults.append((fault, request))

    def made(self):
        return [call for call in self.calls if call[:2] == ("POST", "/v1/checkout/sessions")]

    def pay(self, session_id):
        """The customer pays at the session's page."""
        session = self.session(session_id)
        assert session["status"] == "open", "the page says that the session has expired"
        self._complete(session, "succeeded", "paid")

    def pay_by_transfer(self, session_id):
        """The customer chooses a method that is settled days later."""
        self._complete(self.session(session_id), "processing", "unpaid")

    def transfer_fails(self, session_id):
        intent = self.sessions[session_id]["payment_intent"]
        self.intents[intent]["status"] = "requires_payment_method"

    def transfer_arrives(self, session_id):
        session = self.sessions[session_id]
        self.intents[session["payment_intent"]]["status"] = "succeeded"
        session["payment_status"] = "paid"

    def _complete(self, session, intent_status, payment_status):
        intent = {
            "id": self.new_id("pi"),
            "object": "payment_intent",
            "amount": session["amount_total"],
            "currency": session["currency"],
            "status": intent_status,
            "metadata": session["_intent_metadata"],
            "_refunded": 0,
            "_disputed": False,
        }
        self.intents[intent["id"]] = intent
        session |= {
            "status": "complete",
            "payment_status": payment_status,
            "payment_intent": intent["id"],
            "url": None,
        }

    def event(self, type, thing, **more):
        """The body of a webhook."""
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": int(self.clock()),
            "data": {"object": public(thing) | more},
            "livemode": False,
            "type": type,
        }
        return json.dumps(event, indent=2).encode()

    # What Stripe does

    def new_id(self, prefix):
        return f"{prefix}_test_{next(self.numbers):06d}"

    def session(self, session_id):
        if session_id not in self.sessions:
            raise Refused("No such checkout session", status=404, code="resource_missing")
        session = self.sessions[session_id]
        if session["status"] == "open" and self.clock() >= session["expires_at"]:
            session |= {"status": "expired", "url": None}
        return session

    def create_session(self, given):
        know(given, SESSION_PARAMETERS)
        now = int(self.clock())
        expires_at = int(given.get("expires_at", now + 24 * 3600))
        if not now + 1800 <= expires_at <= now + 24 * 3600:
            raise Refused("The `expires_at` timestamp must be …", param="expires_at")
        payment = given["mode"] == "payment"
        amount = int(given["line_items[0][price_data][unit_amount]"]) if payment else None
        if payment and amount < 50:
            raise Refused("The amount is too small.", code="amount_too_small")
        session_id = self.new_id("cs")
        self.sessions[session_id] = session = {
            "id": session_id,
            "object": "checkout.session",
            "amount_total": amount,
            "client_reference_id": given.get("client_reference_id"),
            "created": now,
            "currency": given.get("line_items[0][price_data][currency]", given.get("currency")),
            "expires_at": expires_at,
            "metadata": metadata(given, "metadata"),
            "mode": given["mode"],
            "payment_intent": None,
            "payment_status": "unpaid" if payment else "no_payment_required",
            "status": "open",
            "url": f"https://checkout.stripe.test/c/pay/{session_id}",
            "_intent_metadata": metadata(given, "payment_intent_data[metadata]"),
        }
        return session

    def expire_session(self, session_id):
        session = self.session(session_id)
        if session["status"] != "open":
            raise Refused(
                'Only Checkout Sessions with a status in ["open"] can be expired. '
                f"This Checkout Session has a status of `{session['status']}`."
            )
        session |= {"status": "expired", "url": None}
        return session

    def list_sessions(self, given):
        first, last = int(given["created[gte]"]), int(given["created[lte]"])
        found = [s for s in self.sessions.values() if first <= s["created"] <= last]
        return self.page([self.session(s["id"]) for s in found], given, "/v1/checkout/sessions")

    def page(self, things, given, url):
        things = things[::-1]  # the newest comes first
        if after := given.get("starting_after"):
            things = things[[thing["id"] for thing in things].index(after) + 1 :]
        limit = int(given.get("limit", 10))
        page = [public(thing) for thing in things[:limit]]
        return {"object": "list", "url": url, "has_more": len(things) > limit, "data": page}

    def create_refund(self, given):
        know(given, REFUND_PARAMETERS)
        intent, amount = self.intents[given["payment_intent"]], int(given["amount"])
        left = intent["amount"] - intent["_refunded"]
        if intent["_disputed"]:
            raise Refused("This charge has been charged back.", code="charge_disputed")
        if not left:
            raise Refused("The charge was refunded already.", code="charge_already_refunded")
        if amount > left:
            raise Refused(f"Refund amount ({amount}) is greater than unrefunded amount ({left})")
        intent["_refunded"] += amount
        refund = {
            "id": self.new_id("re"),
            "object": "refund",
            "amount": amount,
            "currency": intent["currency"],
            "metadata": metadata(given, "metadata"),
            "payment_intent": intent["id"],
            "status": self.refund_status,
        }
        if self.refund_status == "failed":
            refund["failure_reason"] = "lost_or_stolen_card"
        self.refunds[refund["id"]] = refund
        return refund

    def answer(self, method, path, given):
        """The status and body of a request."""
        if match := re.fullmatch("/v1/checkout/sessions/([^/]+)(/expire)?", path):
            return self.expire_session(match[1]) if match[2] else self.session(match[1])
        if match := re.fullmatch("/v1/payment_intents/([^/]+)", path):
            return self.intents[match[1]]
        if path == "/v1/checkout/sessions":
            return self.create_session(given) if method == "POST" else self.list_sessions(given)
        assert path == "/v1/refunds", path
        if method == "POST":
            return self.create_refund(given)
        of_intent = [
            r for r in self.refunds.values() if r["payment_intent"] == given["payment_intent"]
        ]
        return self.page(of_intent, given, path)

    def answer_once(self, method, path, given, key):
        """As `answer`, once for each idempotency key. Returns status, body, and whether it was kept."""
        with self.lock:
            kept = self.kept.get(key)
            if kept and self.clock() < kept["at"] + KEY_LIFETIME:
                if kept["request"] != (path, given):
                    raise Refused(
                        "Keys for idempotent requests can only be used with the same parameters",
                        type="idempotency_error",
                    )
                return kept["status"], kept["body"], True
            status, body = 200, public(self.answer(method, path, given))
            self.keep(key, path, given, status, body)
            return status, body, False

    def keep(self, key, path, given, status, body):
        if key:
            self.kept[key] = {
                "at": self.clock(), "request": (path, given), "status": status, "body": body,
            }  # fmt: skip

    @contextmanager
    def working_on(self, key):
        with self.lock:
            if key and key in self.in_progress:
                raise Refused(
                    "There is currently another in-progress request using this Idempotent Key",
                    status=409, type="idempotency_error", code="idempotency_key_in_use",
                )  # fmt: skip
            self.in_progress.add(key)
        try:
            yield
        finally:
            self.in_progress.discard(key)

    def fault(self, request):
        with self.lock:
            for fault, begins in self.faults:
                if request.startswith(begins):
                    self.faults.remove((fault, begins))
                    return fault
        return None


def know(given, names):
    for name in given:
        if name.partition("[")[0] not in names:
            raise Refused(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )


def metadata(given, name):
    return {
        key[len(name) + 1 : -1]: value for key, value in given.items() if key.startswith(f"{name}[")
    }


def public(thing):
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def handler(account):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is sent as a whole

        def do_GET(self):
            self.serve("GET", urlsplit(self.path).query)

        def do_POST(self):
            self.serve("POST", self.rfile.read(int(self.headers["Content-Length"])).decode())

        def serve(self, method, form):
            path, given = urlsplit(self.path).path, dict(parse_qsl(form, strict_parsing=bool(form)))
            key = self.headers.get("Idempotency-Key")
            with account.lock:
                account.calls.append((method, path, given, key))
            fault = account.fault(f"{method} {path}")
            try:
                if self.headers["Authorization"] != f"Bearer {SECRET_KEY}":
                    raise Refused("Invalid API Key provided: sk_test_****", status=401)
                with account.working_on(key):
                    self.serve_spoilt(fault, method, path, given, key)
            except Refused as refused:
                self.send(refused.status, refused.body, fault=fault)

        def serve_spoilt(self, fault, method, path, given, key):
            if fault == "lose_request":
                self.close_connection = True
                return
            if isinstance(fault, int):
                body = {"error": {"type": "api_error", "message": f"status {fault}"}}
                if fault >= 500 and method == "POST":
                    account.keep(key, path, given, fault, body)
                self.send(fault, body)
                return
            if fault == "wait":
                account.go_on.wait(20)
            status, body, repeated = account.answer_once(method, path, given, key)
            self.send(status, body, repeated=repeated, fault=fault)

        def send(self, status, body, *, repeated=False, fault=None):
            self.close_connection = fault in {"lose_answer", "cut_off"}
            if fault == "lose_answer":
                return
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Request-Id", account.new_id("req"))
            if repeated:
                self.send_header("Idempotent-Replayed", "true")
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault == "cut_off" else data)

        def log_message(self, *args):
            pass

    return Handler


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Print nothing: in these tests clients hang up on purpose."""


@contextmanager
def running_stripe():
    """Yields the account, and the address of its API."""
    account = Account()
    with Server(("127.0.0.1", 0), handler(account)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield account, f"http://127.0.0.1:{server.server_port}"
        finally:
            account.go_on.set()
            server.shutdown()
