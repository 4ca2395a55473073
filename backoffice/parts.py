import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def part(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """A part of a page that asks for it again and again (static/js/back-office.js), with an ETag.

    Nobody stores it, so Django gives it no ETag by itself.
    """
    response = render(request, template, context)
    response.headers["ETag"] = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    return response
