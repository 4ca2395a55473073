import pytest
from django.db import connections


@pytest.fixture(scope="session")
def django_db_modify_db_settings():
    """Dozens wait for one lock here, on a machine that may be busy; what is tested is who gets it."""
    options = connections["default"].settings_dict["OPTIONS"]
    options["options"] = "-c lock_timeout=20s"


@pytest.fixture(autouse=True)
def fast_passwords(settings):
    """Hashing a password slowly is a virtue, but not of a test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
