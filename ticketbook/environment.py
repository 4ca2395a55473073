"""Reads settings from the environment and from `.env`.

Every function here returns a checked value, or raises ImproperlyConfigured with one sentence that
names the variable and says what to set it to. The sentence never quotes a URL, which may hold a
password.
"""

import hmac
import os
import re
import secrets
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from ticketbook import currencies, zones

BASE_DIR = Path(__file__).resolve().parent.parent

_env = environ.Env()
_env.read_env(BASE_DIR / ".env")


def text(name: str, default: str = "") -> str:
    return str(_env.str(name, default))


def words(name: str, default: list[str]) -> list[str]:
    return list(_env.list(name, default=default))


def named(name: str, default: dict[str, str]) -> dict[str, str]:
    """Values by name, written as name=value,name=value. A name has up to 32 letters, digits and dashes."""
    values = {}
    for entry in words(name, [f"{key}={value}" for key, value in default.items()]):
        key, _, value = (part.strip() for part in entry.partition("="))
        if not (re.fullmatch("[a-z][a-z0-9-]{0,31}", key) and value):
            raise ImproperlyConfigured(
                f"{name} has the entry {entry!r}. Write name=value, with a name of up to 32 lower-case "
                "letters, digits and dashes, and commas between entries."
            )
        values[key] = value
    return values


def address(name: str, default: str) -> str:
    """The address of a site: scheme and host, without a slash at its end."""
    url = text(name) or default
    if not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", url):
        raise ImproperlyConfigured(
            f"{name}={url!r} is not the address of a site. Set it to one like https://tickets.example.com."
        )
    return url.rstrip("/")


def currency(name: str, default: str) -> str:
    """The ISO 4217 code of a currency that a site can sell in."""
    code = text(name) or default
    if reason := currencies.why_not(code):
        raise ImproperlyConfigured(f"{name}={code!r} {reason}")
    return code


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks, with commas between them. An address is a network of one."""
    found = []
    for entry in words(name, []):
        try:
            found.append(ip_network(entry.strip()))
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} has the entry {entry!r}. Write addresses and networks such as 127.0.0.1 or "
                "10.0.0.0/8, with commas between them."
            ) from None
    return found


def number(name: str, default: float, low: float, high: float) -> float:
    try:
        value = float(_env.float(name, default))
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
    value = number(name, default, low, high)
    if value != int(value):
        raise ImproperlyConfigured(f"{name}={value:g} must be a whole number.")
    return int(value)


def switch(name: str, *, default: bool) -> bool:
    value = text(name, "on" if default else "off").strip().lower()
    if value in {"on", "true", "yes", "1"}:
        return True
    if value in {"off", "false", "no", "0", ""}:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is neither on nor off.")


def choice(name: str, default: str, *others: str) -> str:
    value = text(name, default).strip().lower() or default
    if value not in (default, *others):
        raise ImproperlyConfigured(
            f"{name}={value!r} is not known here. Set it to {' or '.join((default, *others))}."
        )
    return value


def time_zone(name: str, default: str) -> str:
    zone = text(name) or default
    if zone not in zones.names():
        raise ImproperlyConfigured(f"{name}={zone!r} is no time zone. {zones.SETTING}")
    return zone


def folder(name: str, default: str) -> Path:
    path = Path(text(name) or default).expanduser()
    return path if path.is_absolute() else BASE_DIR / path


def postgres_server(name: str, *, otherwise: str = "to use the embedded one") -> dict[str, Any]:
    """The server that a URL names, as an entry of Django's DATABASES."""
    try:
        if not text(name).startswith(("postgres://", "postgresql://")):
            raise ValueError(name)
        server: dict[str, Any] = _env.db_url(name)
        if not server["NAME"]:
            raise ValueError(name)
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} must name a PostgreSQL server: postgres://user:password@host:5432/name "
            f"(special characters percent-encoded). Leave it out {otherwise}."
        ) from None
    return server


def replica_server(name: str, primary: dict[str, Any]) -> dict[str, Any]:
    """The server that a URL names, as an entry of Django's DATABASES. It must not be the primary."""
    server = postgres_server(name, otherwise="to read everything from the primary")
    if all(server.get(part) == primary.get(part) for part in ("HOST", "PORT", "NAME")):
        raise ImproperlyConfigured(
            f"{name} names the same server and database as DATABASE_URL. Name a replica, or leave it out."
        )
    return server


def direct_server(name: str, *, pooled: bool, embedded: bool) -> dict[str, Any]:
    """The server past the pooler, as parameters of a connection; {} if there is no pooler."""
    if pooled and embedded:
        raise ImproperlyConfigured(
            "DATABASE_POOLER=transaction needs a pooler: set DATABASE_URL to its address, or leave both out."
        )
    if pooled and not text(name):
        raise ImproperlyConfigured(
            f"{name} is not set. It is required together with DATABASE_POOLER=transaction: set it to the "
            "address of the server itself, past the pooler, because the job worker listens there."
        )
    if not pooled:
        return {}
    server = postgres_server(name)
    names = {
        "NAME": "dbname",
        "USER": "user",
        "PASSWORD": "password",
        "HOST": "host",
        "PORT": "port",
    }
    return {param: server[key] for key, param in names.items() if server[key]}


def cache_server(url: str) -> dict[str, Any]:
    """The server that CACHE_URL names, as an entry of Django's CACHES; without a URL, a local cache."""
    if not url:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    import redis  # only here, because the import takes a while and most sites have no such server

    # The client library knows Valkey by its older name only.
    address = re.sub("^valkey(s?)://", r"redis\1://", url)
    try:
        if not (address.startswith(("redis://", "rediss://")) and urlsplit(address).hostname):
            raise ValueError(address)
        redis.ConnectionPool.from_url(address)  # checks the URL without connecting
        server: dict[str, Any] = _env.cache_url_config(
            address, backend="django.core.cache.backends.redis.RedisCache"
        )
    except (ValueError, TypeError):
        raise ImproperlyConfigured(
            "CACHE_URL must name a Valkey or Redis server: valkey://user:password@host:6379/0 "
            "(valkeys:// with TLS; special characters percent-encoded). Leave it out to cache in "
            "each process."
        ) from None
    return server | {
        "OPTIONS": {
            "serializer": "ticketbook.copies.cache_server.PlainValues",
            # Seconds. A cache that answers more slowly than the database is of no use.
            "socket_timeout": 0.25,
            "socket_connect_timeout": 0.25,
            "protocol": 2,  # version 3 offers nothing we use and needs two more questions to connect
            **server.get("OPTIONS", {}),
        },
    }


MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}
# Whatever else a URL may have (a path, a query) would be left out without a word.
MAIL_URL = r"smtp(\+tls|\+ssl)?://([^/?#@\s]*@)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?"


def mail_server(name: str) -> dict[str, Any]:
    """The SMTP server that a URL names, as Django's settings EMAIL_…; without a URL, {}."""
    url = text(name)
    if not url:
        return {}
    try:
        # `smtps` is left out: some mean STARTTLS by it, others TLS from the first byte.
        if not re.fullmatch(MAIL_URL, url):
            raise ValueError(name)
        server: dict[str, Any] = _env.email_url_config(url)
        _check_mail_server(server)
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} must name a mail server: smtp+tls://user:password@host:587 (smtp+ssl:// for TLS from "
            "the first byte, smtp:// for none; nothing behind the port; special characters "
            "percent-encoded, and only ASCII in user and password). Leave it out to write mails to files in "
            "DATA_DIR/mail."
        ) from None
    return server | {"EMAIL_PORT": server["EMAIL_PORT"] or MAIL_PORTS[url.partition("://")[0]]}


def _check_mail_server(server: dict[str, Any]) -> None:
    # What could never work, and would be noticed only when the first mail is sent. Raises ValueError.
    server["EMAIL_HOST"].encode("idna")
    user, password = server["EMAIL_HOST_USER"] or "", server["EMAIL_HOST_PASSWORD"] or ""
    (user + password).encode("ascii")  # smtplib sends nothing else
    if bool(user) != bool(password):
        raise ValueError("A log-in takes both.")


# An address, or a name and an address in angle brackets. The address also goes to the server and into
# Message-IDs, which take only ASCII.
ADDRESS = r"[!-;=?A-~]+@[A-Za-z0-9.-]+"
SENDER = rf"[^<>]*<{ADDRESS}>|{ADDRESS}"


def sender(name: str, site: str) -> str:
    """The address that mails come from, such as TicketBook <tickets@example.com>."""
    host = urlsplit(site).hostname or ""
    is_a_name = re.search("[a-z]", host) and ":" not in host
    default = f"TicketBook <tickets@{host if is_a_name else 'localhost'}>"
    value = text(name) or default
    if not (re.fullmatch(SENDER, value) and _is_one_address(value)):
        raise ImproperlyConfigured(
            f"{name}={value!r} is no address. Set it to one like TicketBook <tickets@example.com>. A name "
            'with a comma or other signs takes quotes: "Tickets, Inc." <tickets@example.com>. An address is '
            "ASCII."
        )
    return value


def _is_one_address(value: str) -> bool:
    from django.core.mail.message import sanitize_address  # what reads it when a mail is sent

    try:
        sanitize_address(value, "utf-8")
    except ValueError:
        return False
    return value.isprintable()


def secret_key(data_dir: Path, *, required: bool) -> str:
    """SECRET_KEY. If it is unset and not required, a key is made once and kept in data_dir."""
    key = text("SECRET_KEY")
    if key:
        return key
    if required:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. It is required together with DATABASE_URL: set it to a long "
            "random text and keep it secret, for example the output of: openssl rand -base64 48"
        )
    try:
        return _kept_key(data_dir)
    except OSError as exc:
        raise ImproperlyConfigured(
            f"DATA_DIR={str(data_dir)!r} cannot be used: {exc.strerror}. "
            "Set DATA_DIR to a folder that this user may write to."
        ) from None


def _kept_key(data_dir: Path) -> str:
    data_dir.mkdir(parents=True, exist_ok=True)
    file = data_dir / "secret_key"
    if not file.exists():
        # Two commands may start at once. Each writes a draft and links it into place; the first link
        # wins, and nobody reads half a key.
        draft = data_dir / f".secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file.read_text()


def ticket_keys(entries: list[str], secret_key: str) -> list[bytes]:
    """The secrets of the keys that sign tickets, the signing one first.

    Without entries it is one key, which follows from SECRET_KEY. No message quotes an entry: it is a secret.
    """
    keys = []
    for place, entry in enumerate(entries, 1):
        if not re.fullmatch("[0-9A-Fa-f]{64}", entry.strip()):
            raise ImproperlyConfigured(
                f"TICKET_KEYS has something else than a key at place {place}. Write keys of 64 hexadecimal "
                "digits with commas between them, each for example the output of: openssl rand -hex 32"
            )
        keys.append(bytes.fromhex(entry.strip()))
    if len(set(keys)) < len(keys):
        raise ImproperlyConfigured("TICKET_KEYS has a key twice. Remove one of the two.")
    return keys or [hmac.digest(secret_key.encode(), b"ticketbook.TICKET_KEYS", "sha256")]
