from django.http import HttpRequest
from rest_framework.request import Request

from accounts.models import User


def customer(request: Request | HttpRequest) -> User:
    """The user of a request that only people who are logged in can make."""
    assert isinstance(request.user, User)
    return request.user
