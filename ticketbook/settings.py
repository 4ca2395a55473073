"""Every setting of TicketBook, read once from the environment (and from `.env`, if there is one).

README.md lists the variables; `.env.example` is a commented copy of them. A wrong value stops the
start with a sentence that names the variable and says what it takes.
"""

from datetime import timedelta
from typing import Any

from ticketbook.api.paths import API
from ticketbook.environment import (
    BASE_DIR,
    address,
    cache_server,
    choice,
    currency,
    direct_server,
    folder,
    mail_server,
    named,
    networks,
    number,
    postgres_server,
    replica_server,
    secret_key,
    sender,
    switch,
    text,
    ticket_keys,
    time_zone,
    whole,
    words,
)

# --- Where things are -------------------------------------------------------------------------

DEBUG = switch("DEBUG", default=False)
DATA_DIR = folder("DATA_DIR", ".data")
# Only this machine can connect, unless somebody decides otherwise: a container sets 0.0.0.0.
BIND_ADDRESS = text("BIND_ADDRESS", "127.0.0.1")
PORT = whole("PORT", 8000, 1, 65535)
WEB_CONCURRENCY = whole("WEB_CONCURRENCY", 2, 1, 64)
WEB_THREADS = whole("WEB_THREADS", 8, 1, 1000)
WEB_CONNECTIONS = whole("WEB_CONNECTIONS", 10_000, 1, 1_000_000)
# Clients of each process from one address (of IPv6, from one network of 64 bits).
WEB_CONNECTIONS_PER_ADDRESS = whole(
    "WEB_CONNECTIONS_PER_ADDRESS", (WEB_CONNECTIONS + 1) // 2, 1, 1_000_000
)
# After SIGTERM, so many seconds of serving while /readyz is red already.
STOP_NOTICE_SECONDS = whole("STOP_NOTICE_SECONDS", 0, 0, 300)
# Threads of each process that serve hot tiers. If there are more hot tiers, these take turns.
LANE_THREADS = whole("LANE_THREADS", 8, 1, 100)
# The currency of all prices. It says how many decimals an amount has (ticketbook/amounts.py).
CURRENCY = currency("CURRENCY", "USD")
# The address of the site for customers, without a slash at its end. Payment pages send them back to it.
SITE_URL = address("SITE_URL", f"http://127.0.0.1:{PORT}")

# --- Database ---------------------------------------------------------------------------------

DATABASE_URL = text("DATABASE_URL")
EMBEDDED = not DATABASE_URL
# A trial that may make its own SECRET_KEY, also on the server of DATABASE_URL. `make demo` sets it.
DEMO = switch("DEMO", default=False)

# A transaction waits this long for the lock of a tier, and then its requests get `busy`. Keep it below the
# server's deadlock_timeout (3 s on the embedded server), so that no wait starts a search for deadlocks.
LOCK_TIMEOUT_MS = whole(
    "LOCK_TIMEOUT_MS", 2000 if EMBEDDED else 900, 1, 2900 if EMBEDDED else 60_000
)

# A pooler in transaction mode between us and the server, as PgBouncer is (docs/operations.md).
DATABASE_POOLER = choice("DATABASE_POOLER", "none", "transaction")
POOLED = DATABASE_POOLER == "transaction"
# Where the job worker fetches its jobs and listens, past the pooler.
DATABASE_DIRECT = direct_server("DATABASE_DIRECT_URL", pooled=POOLED, embedded=EMBEDDED)

SESSION = {
    "lock_timeout": f"{LOCK_TIMEOUT_MS}ms",
    # A process that stands still in the middle of a transaction would keep its tier locked for ever.
    "idle_in_transaction_session_timeout": "10s",
    # One of the role's would cancel a COMMIT that waits for its standby.
    "statement_timeout": "0",
}
_OPTIONS = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
DATABASE_DIRECT |= {"options": _OPTIONS} if POOLED else {}

server: dict[str, Any] = (
    {"NAME": "ticketbook", "EMBEDDED_DATA_DIR": DATA_DIR}
    if EMBEDDED
    else postgres_server("DATABASE_URL")
)
server |= {
    "ENGINE": "ticketbook.postgres",
    # A thread keeps its connection: a new one for every request costs more than a booking.
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        **server.get("OPTIONS", {}),
        "application_name": "ticketbook",
        "connect_timeout": 5,
        # Prepare at the first use, where a cursor asks for it (ticketbook/postgres/statements.py).
        "prepare_threshold": 0,
        "options": _OPTIONS,
        # A server or network that went away without a word is noticed after about 20 seconds.
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,  # milliseconds
    },
}
if POOLED:
    # Each transaction may have another server connection. It brings its settings along, and finds no
    # statement prepared (PgBouncer before 1.21 mixes up those of different clients).
    server["TRANSACTION_SETTINGS"] = SESSION
    server["OPTIONS"]["prepare_threshold"] = None
    del server["OPTIONS"]["options"]
DATABASES = {"default": server}

# A server that follows the primary. Pages that may be a little behind are read there (ticketbook/replica/).
REPLICA_URL = text("REPLICA_URL")
# So many seconds they may be behind. While the replica lags more, they are read from the primary.
REPLICA_MAX_LAG = number("REPLICA_MAX_LAG", 2, 0.2, 60)
DATABASE_ROUTERS = ["ticketbook.replica.router.Router"] if REPLICA_URL else []
if REPLICA_URL:
    replica = replica_server("REPLICA_URL", server)
    DATABASES["replica"] = replica | {
        "ENGINE": "ticketbook.replica",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **replica.get("OPTIONS", {}),
            "application_name": "ticketbook reading",
            "connect_timeout": 2,
            "prepare_threshold": None,
            "options": "-c default_transaction_read_only=on -c statement_timeout=10s",
            "tcp_user_timeout": 5000,  # milliseconds
        },
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Cache ------------------------------------------------------------------------------------

CACHE_URL = text("CACHE_URL")
CACHES = {"default": cache_server(CACHE_URL)}
# Reads below these addresses are answered from copies when many ask for them (ticketbook/copies/).
# The same for everybody:
COPIED_FOR_EVERYBODY = (f"{API}/concerts",)
# The same for visitors without a session, as the home page "/" is:
COPIED_FOR_STRANGERS = ("/concerts/",)
# Answers below these addresses are somebody's own (ticketbook/no_store.py).
NEVER_STORED = (
    "/accounts/",
    "/bookings/",
    "/b/",
    "/tickets/",
    f"{API}/bookings",
    f"{API}/tickets",
    f"{API}/users",
    f"{API}/auth/",
)

# --- Security ---------------------------------------------------------------------------------

SECRET_KEY = secret_key(DATA_DIR, required=not (EMBEDDED or DEMO))
ALLOWED_HOSTS = words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = words("CSRF_TRUSTED_ORIGINS", [])
CSRF_FAILURE_VIEW = "ticketbook.error_handlers.csrf_failure"

# Behind a proxy that ends TLS and sets X-Forwarded-Proto.
HTTPS = switch("HTTPS", default=False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS

# For every page, the admin and the description of the API too: what is not ours is neither loaded nor run,
# and nothing is inline. No nonces, because copies of a page are the same for everybody. Payment pages are
# added to `form-action` (ticketbook/page_security.py).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
# Nothing here needs a device of the visitor's, or the browser's own payments.
PERMISSIONS_POLICY = (
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
)

# The site is at the root of its address, whatever a client says in SCRIPT_NAME.
FORCE_SCRIPT_NAME = ""
# No form takes files.
FILE_UPLOAD_HANDLERS = ["ticketbook.uploads.NoFiles"]
# The largest body of a request, in bytes.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
# Only these may say by X-Forwarded-For who their client is.
TRUSTED_PROXIES = networks("TRUSTED_PROXIES")

# --- Tickets ----------------------------------------------------------------------------------

# The keys of the QR codes (docs/tickets.md): the first one signs, and all of them verify.
TICKET_KEYS_SET = bool(words("TICKET_KEYS", []))
TICKET_KEYS = ticket_keys(words("TICKET_KEYS", []), SECRET_KEY)

# --- Log-in and sign-up (accounts/throttle.py); 0 for no limit ---------------------------------

# So many wrong log-ins for one account, and then the waits grow.
LOGIN_FAILURES = whole("LOGIN_FAILURES", 10, 0, 1000)
LOGIN_LONGEST_WAIT = number("LOGIN_LONGEST_WAIT", 15 * 60, 1, 24 * 3600)
# In a minute. A network may have four times as many.
LOGIN_FAILURES_PER_ADDRESS = whole("LOGIN_FAILURES_PER_ADDRESS", 300, 0, 1_000_000)
SIGNUPS_PER_ADDRESS = whole("SIGNUPS_PER_ADDRESS", 600, 0, 1_000_000)
# Forms that guests book with, in each process. One whose tickets were paid at once does not count.
GUEST_FORMS_PER_ADDRESS = whole("GUEST_FORMS_PER_ADDRESS", 2000, 0, 1_000_000)
# Mails that somebody wants to have sent, such as a link for a forgotten password.
MAILS_PER_ADDRESS = whole("MAILS_PER_ADDRESS", 60, 0, 1_000_000)
# How long a link for a forgotten password works, in seconds. The mail says so too.
PASSWORD_RESET_TIMEOUT = 3600
# Forms and requests with a password, by the beginning of their address. Hashing takes long, so they have
# threads of their own in each process, and the rest of the site does not wait for them.
PASSWORD_THREADS = whole("PASSWORD_THREADS", 1, 1, 100)
PASSWORD_DOORS = (
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/reset/",
    "/accounts/password/",
    "/accounts/address/",
    "/accounts/close/",
    "/bookings/keep/",
    "/admin/login/",
    "/admin/password_change/",
    "/admin/accounts/user/",
    f"{API}/users",
    f"{API}/auth/token",
)

# --- Booking ----------------------------------------------------------------------------------

# Requests for one tier that meet in a process share a transaction.
BOOKING_LANES = switch("BOOKING_LANES", default=True)
# How long an unpaid hold keeps its tickets before the resolver asks the gateway about it.
HOLD_SECONDS = number("HOLD_SECONDS", 60, 0.1, 24 * 3600)
# How long a hold may stay unresolved while the gateway is silent; then the tickets go back.
HOLD_GIVE_UP_SECONDS = number("HOLD_GIVE_UP_SECONDS", 10 * HOLD_SECONDS, HOLD_SECONDS, 10**7)

# How many unpaid bookings a customer may have at once; 0 for no limit.
MAX_UNPAID_HOLDS = whole("MAX_UNPAID_HOLDS", 10, 0, 1_000_000)

# Where tests let processes die (bookings/failpoints.py). Never set it on a site that sells.
FAILPOINTS = text("FAILPOINTS")

# Payment gateways by name, beside the built-in ones (bookings/gateways/named.py). A booking keeps the name of
# its gateway.
PAYMENT_GATEWAYS = named("PAYMENT_GATEWAYS", {})
# The name of the gateway for new bookings. Empty: `main` if PAYMENT_GATEWAY is set, otherwise the first of
# PAYMENT_GATEWAYS, otherwise `simulated`.
PAYMENT_DEFAULT = text("PAYMENT_DEFAULT")
# The dotted path of the gateway `main`.
PAYMENT_GATEWAY = text("PAYMENT_GATEWAY")
# Threads of each process for a gateway whose methods are plain functions.
PAYMENT_THREADS = whole("PAYMENT_THREADS", 32, 1, 1000)
# How long a call to the gateway may take.
PAYMENT_TIME_LIMIT_MS = whole("PAYMENT_TIME_LIMIT_MS", 5000, 1, 60_000)

# The circuit breaker in front of each gateway (bookings/breakers.py). So many failures among the last twice
# as many calls open it; 0 for no breaker.
PAYMENT_BREAKER_FAILURES = whole("PAYMENT_BREAKER_FAILURES", 10, 0, 10_000)
# A slower answer counts as a failure.
PAYMENT_BREAKER_SLOW_MS = whole(
    "PAYMENT_BREAKER_SLOW_MS", PAYMENT_TIME_LIMIT_MS * 4 // 5 or 1, 1, 600_000
)
# How long it rests before a booking goes through as a probe.
PAYMENT_BREAKER_SECONDS = number("PAYMENT_BREAKER_SECONDS", 5, 0.1, 3600)

# The simulated gateway. It decides by the booking's id, so its answer never changes. Rates are 0 to 1.
PAYMENT_SUCCESS_RATE = number("PAYMENT_SUCCESS_RATE", 0.8, 0, 1)
PAYMENT_TIMEOUT_RATE = number("PAYMENT_TIMEOUT_RATE", 0, 0, 1)
# Of the charges that time out, how many took effect all the same.
PAYMENT_TIMEOUT_EFFECT_RATE = number("PAYMENT_TIMEOUT_EFFECT_RATE", 0.5, 0, 1)
PAYMENT_LATENCY_MS = whole("PAYMENT_LATENCY_MS", 0, 0, 600_000)
PAYMENT_LATENCY_SPREAD_MS = whole("PAYMENT_LATENCY_SPREAD_MS", 0, 0, 600_000)
PAYMENT_OUTAGE = switch("PAYMENT_OUTAGE", default=False)

# The simulated gateway with a payment page (PAYMENT_DEFAULT=hosted). `make demo` starts its process, which
# listens on this port of BIND_ADDRESS.
HOSTED_PORT = whole("HOSTED_PORT", PORT + 1000 if PORT < 64_000 else PORT - 1000, 1, 65535)
# How long a customer may stay at the payment page before the payment is cancelled.
HOSTED_HOLD_SECONDS = number("HOSTED_HOLD_SECONDS", 15 * 60, 1, 24 * 3600)
# Its webhooks: how late they come, and what share is lost, comes twice, or comes after the next one.
HOSTED_WEBHOOK_DELAY_MS = whole("HOSTED_WEBHOOK_DELAY_MS", 0, 0, 600_000)
HOSTED_WEBHOOK_LOSS_RATE = number("HOSTED_WEBHOOK_LOSS_RATE", 0, 0, 1)
HOSTED_WEBHOOK_DOUBLE_RATE = number("HOSTED_WEBHOOK_DOUBLE_RATE", 0, 0, 1)
HOSTED_WEBHOOK_REORDER_RATE = number("HOSTED_WEBHOOK_REORDER_RATE", 0, 0, 1)

# Stripe, if PAYMENT_GATEWAYS names it (docs/payments.md).
STRIPE_SECRET_KEY = text("STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRET = text("STRIPE_WEBHOOK_SECRET")
# How long a customer may stay at Stripe's payment page before the payment is cancelled. Stripe's own limit
# is half an hour longer, and at most a day.
STRIPE_HOLD_SECONDS = number("STRIPE_HOLD_SECONDS", 15 * 60, 60, 23 * 3600)
STRIPE_API_BASE = address("STRIPE_API_BASE", "https://api.stripe.com")

# --- Mail (mail/) -----------------------------------------------------------------------------

# The server that sends mails. Without one they become files in DATA_DIR/mail.
EMAIL_URL = text("EMAIL_URL")
_mails = mail_server("EMAIL_URL")
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend" if _mails else "mail.files.Files"
EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_HOST = _mails.get("EMAIL_HOST", "")
EMAIL_PORT = _mails.get("EMAIL_PORT", 25)
EMAIL_HOST_USER = _mails.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _mails.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _mails.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _mails.get("EMAIL_USE_SSL", False)
# How long each answer of the server may take, in seconds.
EMAIL_TIMEOUT = 20
EMAIL_SHARE = number("EMAIL_SHARE", 0.05, 0.01, 1)
# Whom mails come from, and so the name that their Message-IDs end with.
DEFAULT_FROM_EMAIL = SERVER_EMAIL = sender("EMAIL_FROM", SITE_URL)
MAIL_DOMAIN = DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")

# --- Django -----------------------------------------------------------------------------------

INSTALLED_APPS = [
    "backoffice.apps.SiteConfig",  # django.contrib.admin, with our site
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
    "mail",
    "accounts",
    "concerts",
    "bookings",
    "tickets",
    "backoffice",
    "demo",
]

MIDDLEWARE = [
    "ticketbook.request_ids.RequestIdMiddleware",
    "ticketbook.error_handlers.ApiErrorsMiddleware",
    "ticketbook.copies.responses.CopiesMiddleware",
    "ticketbook.health.HealthMiddleware",
    "ticketbook.page_security.PageSecurityMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "ticketbook.statics.StaticFilesMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "ticketbook.no_store.NoStoreMiddleware",
    "ticketbook.page_middleware.NoNulMiddleware",
    "ticketbook.page_middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "ticketbook.page_middleware.AuthenticationMiddleware",
    "ticketbook.page_middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "accounts.devices.DevicesMiddleware",
    "ticketbook.error_handlers.BusyMiddleware",
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
    {"NAME": "accounts.passwords.LongEnough"},
    {"NAME": "accounts.passwords.NotBlank"},
    {"NAME": "accounts.passwords.NotCommon"},
    {"NAME": "accounts.passwords.NotNumeric"},
    {"NAME": "accounts.passwords.UnlikeUser", "OPTIONS": {"user_attributes": ["name", "email"]}},
    {"NAME": "accounts.passwords.EndsTokens"},
]
AUTHENTICATION_BACKENDS = ["accounts.backend.PasswordBackend"]
# Addresses of accounts are unique, and so are those of guests. The back end looks among accounts only.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]
SESSION_ENGINE = "accounts.sessions"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "concerts:list"
LOGOUT_REDIRECT_URL = "concerts:list"

LANGUAGE_CODE = "en"
# The time zone of the house, and so of new concerts unless staff choose another one.
TIME_ZONE = time_zone("TIME_ZONE", "UTC")
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Not in DATA_DIR: they belong to the version of the code. A web server keeps them fresh
# (ticketbook/statics.py).
STATIC_ROOT = BASE_DIR / ".static"
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "ticketbook.statics.Apps",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "ticketbook.statics.Collected"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "ticketbook.logs.LineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        # A 4xx is a normal answer, so it is not logged.
        "django.request": {"handlers": ["console"], "level": "ERROR", "propagate": False},
    },
}

# --- API --------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.auth.OneQueryTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "ticketbook.api.strict.AlwaysJSON",
    "DEFAULT_PARSER_CLASSES": ["ticketbook.api.strict.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["ticketbook.api.times.ApiRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ticketbook.api.problems.exception_handler",
    "COERCE_DECIMAL_TO_STRING": True,
    "DATETIME_FORMAT": None,  # the renderer writes times
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
    "SCHEMA_PATH_PREFIX": API,
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "string", "format": "uuid"}},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ticketbook.api.described.with_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "StatusEnum": "bookings.models.Booking.Status",
        "ConcertStatusEnum": "concerts.models.Concert.Status",
    },
}

# --- Jobs -------------------------------------------------------------------------------------

# Jobs at a time. One of them may wait for a mail server (mail/tasks.py).
PROCRASTINATE_WORKER_DEFAULTS = {"delete_jobs": "successful", "concurrency": 3}
PROCRASTINATE_ON_APP_READY = "bookings.rescuing.watch"
