import io
import os
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ticketbook.settings")

MAX_CHUNKED = 1024 * 1024  # bytes


def _with_length(
    app: Callable[[dict[str, Any], Any], Iterable[bytes]],
) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    # Django takes a body without Content-Length for empty, so a chunked one is given its length. Behind the
    # front that is done already; this is for runserver and other servers.

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
            body = environ["wsgi.input"].read(MAX_CHUNKED)
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return app(environ, start_response)

    return call


django.setup(set_prefix=False)

from ticketbook import statics  # noqa: E402  (once Django is set up)

statics.make_fresh()  # before the middleware reads the folder
application = _with_length(get_wsgi_application())
