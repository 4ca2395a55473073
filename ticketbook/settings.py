"""Every setting of TicketBook, read once from the environment (and from `.env`, if there is one).

README.md lists the variables; `.env.example` is a commented copy of them. A wrong value stops the
start with a sentence that names the variable and says what it takes.
"""

import os
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")


def number(name: str, default: float, low: float, high: float) -> float:
    """A number of the environment within [low, high]."""
    try:
        value = float(env.float(name, default))
    except ValueError:
        raise ImproperlyConfigured(
            f"{name}={os.environ[name]!r} is not a number. Set it to {low:g} … {high:g}."
        ) from None
    if not low <= value <= high:
        raise ImproperlyConfigured(
            f"{name}={value:g} is out of range. Set it to {low:g} … {high:g}."
        )
    return value


def whole(name: str, default: int, low: int, high: int) -> int:
    """A whole number of the environment within [low, high]."""
    value = number(name, default, low, high)
    if value != int(value):
        raise ImproperlyConfigured(f"{name}={value:g} must be a whole number.")
    return int(value)


def switch(name: str, *, default: bool) -> bool:
    """on or off (also true/false, yes/no, 1/0)."""
    text = env.str(name, "on" if default else "off").strip().lower()
    if text in {"on", "true", "yes", "1"}:
        return True
    if text in {"off", "false", "no", "0", ""}:
        return False
    raise ImproperlyConfigured(f"{name}={text!r} is neither on nor off.")


# --- Where things are -------------------------------------------------------------------------

DEBUG = switch("DEBUG", default=False)
DATA_DIR = Path(env.str("DATA_DIR", "") or ".data").expanduser()
DATA_DIR = DATA_DIR if DATA_DIR.is_absolute() else BASE_DIR / DATA_DIR
# The loopback, until somebody decides otherwise: a container sets 0.0.0.0.
BIND_ADDRESS = env.str("BIND_ADDRESS", "127.0.0.1")
PORT = whole("PORT", 8000, 1, 65535)
WEB_CONCURRENCY = whole("WEB_CONCURRENCY", 2, 1, 64)
WEB_THREADS = whole("WEB_THREADS", 8, 1, 1000)
WEB_CONNECTIONS = whole("WEB_CONNECTIONS", 10_000, 1, 1_000_000)
# Threads of each process that serve hot tiers, in turn if there are more tiers.
LANE_THREADS = whole("LANE_THREADS", 8, 1, 100)
CURRENCY = env.str("CURRENCY", "USD")

# --- Database ---------------------------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", "")
EMBEDDED = not DATABASE_URL
DEMO = switch("DEMO", default=False)  # set by `manage.py demo`, for itself and its children

# A request waits this long for the lock of a tier, then answers `busy`. It must stay below the
# server's deadlock_timeout: a wait that ends first never pays for the deadlock search.
# The embedded server's is 3 s.
LOCK_TIMEOUT_MS = whole(
    "LOCK_TIMEOUT_MS", 2000 if EMBEDDED else 900, 1, 2900 if EMBEDDED else 60_000
)


def database() -> dict[str, Any]:
    if EMBEDDED:
        return {"NAME": "ticketbook", "EMBEDDED_DATA_DIR": DATA_DIR}
    try:
        if not DATABASE_URL.startswith(("postgres://", "postgresql://")):
            raise ValueError(DATABASE_URL)
        url: dict[str, Any] = env.db_url("DATABASE_URL")
        if not url["NAME"]:
            raise ValueError(DATABASE_URL)
    except ValueError:  # not quoted: it holds a password
        raise ImproperlyConfigured(
            "DATABASE_URL must name a PostgreSQL server: postgres://user:password@host:5432/name "
            "(special characters percent-encoded). Leave it out to use the embedded one."
        ) from None
    return url


DATABASES = {"default": database()}
DATABASES["default"] |= {
    "ENGINE": "ticketbook.postgres",
    # A thread of the web server (gunicorn.conf.py) keeps its connection: to connect
    # anew for every request costs more than a booking.
    "CONN_MAX_AGE": None if switch("KEEP_CONNECTIONS", default=False) else 0,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        **DATABASES["default"].get("OPTIONS", {}),
        "application_name": "ticketbook",
        "connect_timeout": 5,
        # For the statements of the hot path only (ticketbook/database.py, `send`).
        "prepare_threshold": 0,
        "options": f"-c lock_timeout={LOCK_TIMEOUT_MS}",
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Cache ------------------------------------------------------------------------------------

CACHE_URL = env.str("CACHE_URL", "")


def cache(url: str) -> dict[str, Any]:
    if not url:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    # Imported only where there is a server: it takes a while.
    import redis

    # The client knows the old name only.
    address = re.sub("^valkey(s?)://", r"redis\1://", url)
    try:
        if not (address.startswith(("redis://", "rediss://")) and urlsplit(address).hostname):
            raise ValueError(address)
        redis.ConnectionPool.from_url(address)  # connects to nothing yet
        server: dict[str, Any] = env.cache_url_config(
            address, backend="django.core.cache.backends.redis.RedisCache"
        )
    except (ValueError, TypeError):  # not quoted: it may hold a password
        raise ImproperlyConfigured(
            "CACHE_URL must name a Valkey or Redis server: valkey://user:password@host:6379/0 "
            "(valkeys:// with TLS; special characters percent-encoded). Leave it out to cache in "
            "each process."
        ) from None
    return server | {
        "OPTIONS": {
            "serializer": "ticketbook.cache_server.PlainValues",
            # Seconds. A cache that takes longer than the database is of no use.
            "socket_timeout": 0.25,
            "socket_connect_timeout": 0.25,
            "protocol": 2,  # of the third one we need nothing, and it greets with two more questions
            **server.get("OPTIONS", {}),
        },
    }


CACHES = {"default": cache(CACHE_URL)}


# --- Security ---------------------------------------------------------------------------------


def secret_key() -> str:
    """SECRET_KEY, or for a trial on one machine a key made once and kept in DATA_DIR."""
    key: str = env.str("SECRET_KEY", "")
    if key:
        return key
    if not (EMBEDDED or DEMO):
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. It is required together with DATABASE_URL: set it to a long "
            "random text and keep it secret, for example the output of: openssl rand -base64 48"
        )
    file = DATA_DIR / "secret_key"
    try:
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        # Written aside, then linked: of two commands that start at once, both read one whole key.
        fresh = DATA_DIR / f".secret_key.{os.getpid()}"
        if not file.exists():
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(48))
            try:
                os.link(fresh, file)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return file.read_text()
    except OSError as exc:
        raise ImproperlyConfigured(
            f"DATA_DIR={str(DATA_DIR)!r} cannot be used: {exc.strerror}. "
            "Set DATA_DIR to a folder that this user may write to."
        ) from None


SECRET_KEY = secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Behind a proxy that ends TLS and sets X-Forwarded-Proto.
HTTPS = switch("HTTPS", default=False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS

# --- Booking ----------------------------------------------------------------------------------

# Requests for one tier that meet in a process share a transaction.
BOOKING_LANES = switch("BOOKING_LANES", default=True)
# How long an unpaid hold keeps its tickets before the resolver asks the gateway about it.
HOLD_SECONDS = number("HOLD_SECONDS", 60, 0.1, 24 * 3600)
# How long a hold may stay unresolved while the gateway is silent; then the tickets go back.
HOLD_GIVE_UP_SECONDS = number("HOLD_GIVE_UP_SECONDS", 10 * HOLD_SECONDS, HOLD_SECONDS, 10**7)

PAYMENT_GATEWAY = env.str("PAYMENT_GATEWAY", "bookings.payments.SimulatedGateway")
# No call to the gateway waits longer than this.
# Threads of each process for a gateway whose methods are plain functions.
PAYMENT_THREADS = whole("PAYMENT_THREADS", 32, 1, 1000)
PAYMENT_TIME_LIMIT_MS = whole("PAYMENT_TIME_LIMIT_MS", 5000, 1, 60_000)

# The simulated gateway: shares of 1, decided by the booking's id and so for ever the same.
PAYMENT_SUCCESS_RATE = number("PAYMENT_SUCCESS_RATE", 0.8, 0, 1)
PAYMENT_TIMEOUT_RATE = number("PAYMENT_TIMEOUT_RATE", 0, 0, 1)
# Of the charges that time out, how many took effect all the same.
PAYMENT_TIMEOUT_EFFECT_RATE = number("PAYMENT_TIMEOUT_EFFECT_RATE", 0.5, 0, 1)
PAYMENT_LATENCY_MS = whole("PAYMENT_LATENCY_MS", 0, 0, 600_000)
PAYMENT_LATENCY_SPREAD_MS = whole("PAYMENT_LATENCY_SPREAD_MS", 0, 0, 600_000)
PAYMENT_OUTAGE = switch("PAYMENT_OUTAGE", default=False)

# --- Django -----------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "procrastinate.contrib.django",
    "ticketbook",
    "accounts",
    "concerts",
    "bookings",
]

MIDDLEWARE = [
    "concerts.reads.ReadsMiddleware",
    "ticketbook.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "ticketbook.pages.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "ticketbook.pages.AuthenticationMiddleware",
    "ticketbook.pages.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "ticketbook.problems.BusyMiddleware",
]

ROOT_URLCONF = "ticketbook.urls"
WSGI_APPLICATION = "ticketbook.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
]
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "concerts:list"
LOGOUT_REDIRECT_URL = "concerts:list"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# WhiteNoise serves straight from the apps: no collectstatic, and so no STATIC_ROOT.
WHITENOISE_USE_FINDERS = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        # A 4xx is an answer, not an incident.
        "django.request": {"handlers": ["console"], "level": "ERROR", "propagate": False},
    },
}

# --- API --------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.auth.OneQueryTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "ticketbook.wire.AlwaysJSON",
    "DEFAULT_PARSER_CLASSES": ["ticketbook.wire.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ticketbook.problems.exception_handler",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": None,
}

REST_KNOX = {"TOKEN_TTL": timedelta(days=7), "AUTH_HEADER_PREFIX": "Token"}

SPECTACULAR_SETTINGS = {
    "TITLE": "TicketBook",
    "DESCRIPTION": "Concert tickets: never oversold, never charged twice.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
}

# --- Jobs -------------------------------------------------------------------------------------

PROCRASTINATE_WORKER_DEFAULTS = {"delete_jobs": "successful", "concurrency": 2}
