import pytest


@pytest.fixture(autouse=True)
def fast_passwords(settings):
    """Hashing a password slowly is a virtue, but not of a test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
