from datetime import timedelta

import pytest
from django.utils import timezone
from knox.models import AuthToken

from accounts.models import Session
from accounts.tasks import forget_expired_sessions, forget_expired_tokens
from accounts.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_the_night_takes_expired_sessions_and_leaves_the_others():
    for key, hours in (("over", -1), ("alive", 1)):
        expires = timezone.now() + timedelta(hours=hours)
        Session.objects.create(
            session_key=key, session_data="", expire_date=expires, made_at=expires, used_at=expires
        )
    forget_expired_sessions(0)
    assert Session.objects.get().session_key == "alive"


def test_the_night_takes_expired_tokens_and_leaves_the_others():
    ann = UserFactory()
    AuthToken.objects.create(ann, expiry=timedelta(hours=-1))
    alive = AuthToken.objects.create(ann)[0]
    forget_expired_tokens(0)
    assert AuthToken.objects.get() == alive
