"""What the customer sees of the payment page."""

import asyncio
import time
from decimal import Decimal
from urllib.parse import urlsplit

from aiohttp import web
from csp.constants import HEADER as CSP
from csp.utils import build_policy
from django.conf import settings
from django.template.loader import render_to_string

from demo.payment_page.ledger import Ledger, Payment
from demo.payment_page.webhooks import Webhooks

BANK = 0.05  # seconds that a quick bank needs; two windows can meet in them

# A payment's state, and what the page says about it: title and sentence.
CLOSED = {
    "paid": ("Paid", "This payment is done. It cannot be paid again."),
    "declined": ("Declined", "The bank has declined this payment. Nothing was paid."),
    "cancelled": ("Cancelled", "This payment was cancelled. It cannot be paid any more."),
}
SLOW = (
    "Your bank has not answered yet",
    "Nothing is paid so far. This bank answers a second after the shop has given up waiting.",
)
LEFT = (
    "Nothing was paid",
    "You have closed the window. While the shop waits, you can come back from the page of your booking.",
)
TWICE = (
    "Paid once",
    "First window: paid. Second window: already paid. The money was taken once.",
)
HOME = (
    "Payment page",
    "TicketBook sends you here to pay for a booking. Book a ticket there to see how it looks.",
)
UNKNOWN = ("There is no such payment", "The address may be mistyped.")

HEADERS = {
    "Cache-Control": "no-store",  # so that the Back button shows how the payment stands now
    "Referrer-Policy": "no-referrer",  # whoever knows the address can pay
    "X-Frame-Options": "DENY",
}


class CustomerPages:
    def __init__(self, ledger: Ledger, webhooks: Webhooks) -> None:
        self.ledger = ledger
        self.webhooks = webhooks

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/", self.home),
            web.get("/pay/{reference}", self.show),
            web.post("/pay/{reference}", self.press),
            web.static("/static", settings.BASE_DIR / "static"),
        ]

    async def home(self, request: web.Request) -> web.Response:
        return _page(HOME)

    async def show(self, request: web.Request) -> web.Response:
        payment = self._payment(request)
        if payment is None:
            return _page(UNKNOWN, status=404)
        if payment.state in CLOSED:
            return _page(CLOSED[payment.state], payment)
        if payment.slow:
            return _page(SLOW, payment)
        return _page(("Your payment", ""), payment, buttons=True)

    async def press(self, request: web.Request) -> web.Response:
        payment = self._payment(request)
        if payment is None or payment.state in CLOSED or payment.slow:
            return await self.show(request)
        button = (await request.post()).get("button")
        if button == "close":
            return _page(LEFT, payment)
        if button == "twice" and any(await asyncio.gather(self._pay(payment), self._pay(payment))):
            return _page(TWICE, payment)
        if button == "pay" and await self._pay(payment):
            return _go_to(payment.return_url)
        if button == "decline" and self._decline(payment):
            return _go_to(payment.return_url)
        if button == "slow":
            self.ledger.pay_slowly(payment.key)
        # See Other, so that a reload of the page sends nothing again.
        return _go_to(request.path)

    async def _pay(self, payment: Payment) -> bool:
        await asyncio.sleep(BANK)
        paid = self.ledger.pay(payment.key, now=time.time())
        self.webhooks.wake()
        return paid

    def _decline(self, payment: Payment) -> bool:
        declined = self.ledger.decline(payment.key, now=time.time())
        self.webhooks.wake()
        return declined

    def _payment(self, request: web.Request) -> Payment | None:
        return self.ledger.find_by_reference(request.match_info["reference"])


def _headers(payment: Payment | None) -> dict[str, str]:
    # Its forms may lead to itself, and back to the shop.
    shop = urlsplit((payment and payment.return_url) or settings.SITE_URL)
    policy = build_policy(replace={"form-action": ["'self'", f"{shop.scheme}://{shop.netloc}"]})
    return HEADERS | {CSP: policy}


def _page(
    said: tuple[str, str],
    payment: Payment | None = None,
    *,
    buttons: bool = False,
    status: int = 200,
) -> web.Response:
    title, sentence = said
    tickets, _, concert = payment.description.partition(", ") if payment else ("", "", "")
    context = {
        "tickets": tickets,
        "concert": concert,
        "title": title,
        "sentence": sentence,
        "payment": payment,
        "amount": Decimal(payment.cents) / 100 if payment and payment.cents else None,
        "buttons": buttons,
        "site": settings.SITE_URL,
    }
    text = render_to_string("demo/payment.html", context)
    return web.Response(
        text=text, status=status, content_type="text/html", headers=_headers(payment)
    )


def _go_to(url: str) -> web.Response:
    return web.Response(status=303, headers={"Location": url} | HEADERS)
