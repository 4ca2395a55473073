"""What a guest's browser sends and gets."""

import re

from bookings.tests.pages import choice, post
from mail.composing import compose
from mail.models import Mail

EMAIL = "gwen@example.com"


def guest_form(tier, quantity=2, key=None, *, name="Gwen", email=EMAIL):
    return {**choice(tier, quantity, key), "name": name, "email": email}


def book_as_guest(client, tier, quantity=2, key=None, **who):
    """Book, and return the path of the page that the answer leads to."""
    response = post(client, guest_form(tier, quantity, key, **who))
    assert response.status_code == 303, response.content.decode()
    return response.url


def last_mail(kind):
    return compose(Mail.objects.filter(kind=kind).latest("id")).body


def path_in(text, beginning):
    """The path of the first link in a mail that begins so."""
    return re.search(rf"http://127.0.0.1:\d+({beginning}\S+)", text)[1]
