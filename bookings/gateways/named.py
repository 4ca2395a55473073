"""The gateways by their names. A booking keeps the name of its gateway, and all calls for it go there."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

BUILT_IN = {
    "simulated": "bookings.gateways.simulated.SimulatedGateway",
    "hosted": "bookings.gateways.hosted.HostedGateway",
    "none": "bookings.gateways.free.FreeGateway",
    "cash": "bookings.gateways.cash.CashGateway",
}
FREE, CASH = "none", "cash"
IN_WORDS = {
    "simulated": "simulated payment",
    "hosted": "simulated payment page",
    FREE: "nothing to pay",
    CASH: "cash",
    "main": "payment service",
}
FOR_STAFF = {FREE, CASH}  # what a booking made by staff may be paid by
MAIN = "main"  # the name of the gateway whose path is in PAYMENT_GATEWAY


def in_words(name: str) -> str:
    """What people call the gateway. Those of PAYMENT_GATEWAYS have the name that the settings give them."""
    return IN_WORDS.get(name) or name.replace("_", " ").replace("-", " ").capitalize()


def paths() -> dict[str, str]:
    """The dotted path of every gateway, by its name."""
    return BUILT_IN | settings.PAYMENT_GATEWAYS | _main()


def _main() -> dict[str, str]:
    return {MAIN: settings.PAYMENT_GATEWAY} if settings.PAYMENT_GATEWAY else {}


def default() -> str:
    """The name of the gateway that takes the money of new bookings."""
    if settings.PAYMENT_DEFAULT:
        return str(settings.PAYMENT_DEFAULT)
    if settings.PAYMENT_GATEWAY:
        return MAIN
    return next(iter(settings.PAYMENT_GATEWAYS), "simulated")


def gateway(name: str) -> Any:
    """The gateway of this name: one object for the process, so it may keep connections.

    Raises ImproperlyConfigured if the settings do not name it.
    """
    if path := _path(name):
        if path not in _made:
            _made.setdefault(path, import_string(path)())
        return _made[path]
    raise ImproperlyConfigured(
        f"No payment gateway is called {name!r}. Name it in PAYMENT_GATEWAYS, as name=dotted.path."
    )


def _path(name: str) -> str | None:
    # As in paths(), without making the whole table for every charge.
    if name == MAIN and settings.PAYMENT_GATEWAY:
        return str(settings.PAYMENT_GATEWAY)
    return settings.PAYMENT_GATEWAYS.get(name) or BUILT_IN.get(name)


_made: dict[str, Any] = {}


def used() -> list[Any]:
    """The gateways that this process has made so far."""
    return list(_made.values())


def redirects(name: str) -> bool:
    """Whether the gateway sends customers to a page of its own (base.RedirectingGateway)."""
    return hasattr(gateway(name), "begin")


def page_origins() -> list[str]:
    """The origins of the payment pages that the settings name. A form of ours may lead there."""
    classes = [
        import_string(paths()[name]) for name in {default(), *settings.PAYMENT_GATEWAYS, *_main()}
    ]
    return [
        origin
        for each in classes
        if hasattr(each, "page_origins")
        for origin in each.page_origins()
    ]


def form_may_lead_to(url: str) -> bool:
    """Whether a browser follows a redirect to this payment page that answers a form of ours."""
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc}" in page_origins()


def check() -> None:
    """Raises ImproperlyConfigured for a gateway that cannot be used.

    It must stop the start, not fail the first customer. A class may have a static method `check` that
    raises the same if one of its settings is missing.
    """
    for name, path in paths().items():
        try:
            gateway_class = import_string(path)
        except Exception as exc:
            setting = "PAYMENT_GATEWAY" if name == MAIN else f"PAYMENT_GATEWAYS: {name}"
            raise ImproperlyConfigured(
                f"{setting}={path!r} cannot be used: {exc}. Set it to the dotted path of a class like "
                "bookings.gateways.simulated.SimulatedGateway."
            ) from exc
        if lacks := _lacks(gateway_class):
            raise ImproperlyConfigured(
                f"The payment gateway {name} ({path}) has no {lacks}. docs/payments.md says what it needs."
            )
        if check_settings := getattr(gateway_class, "check", None):
            check_settings()
    if taken := settings.PAYMENT_GATEWAYS.keys() & FOR_STAFF:
        raise ImproperlyConfigured(
            f"PAYMENT_GATEWAYS names {', '.join(sorted(taken))}, which bookings by staff use. "
            "Choose another name."
        )
    if default() not in paths().keys() - FOR_STAFF:
        usable = ", ".join(sorted(paths().keys() - FOR_STAFF))
        raise ImproperlyConfigured(
            f"PAYMENT_DEFAULT={default()!r} names no gateway that customers can pay by. "
            f"Set it to one of these: {usable}. Or name yours in PAYMENT_GATEWAYS."
        )


AT_ONCE = ("charge", "look_up", "refund")
AT_A_PAGE = ("begin", "look_up", "cancel", "refund", "read_event")


def _lacks(gateway_class: Any) -> str:
    # The first thing that a class lacks of the protocol it means to have (base.py).
    wanted = AT_A_PAGE if hasattr(gateway_class, "begin") else AT_ONCE
    return next((name for name in wanted if not hasattr(gateway_class, name)), "")
