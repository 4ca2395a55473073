"""What a visitor of the pages does in the tests."""

from datetime import timedelta

from django.utils import timezone


def page(client, path="/concerts/", status=200, **query):
    response = client.get(path, query)
    assert response.status_code == status
    return response.content.decode()


def soon(**delta):
    return timezone.now() + timedelta(**delta)
