"""Where somebody is logged in, and how that is ended."""

from datetime import timedelta

import pytest
from django.test import Client, RequestFactory
from knox.models import AuthToken

from accounts.browsers import browser_of
from accounts.models import Session, User
from accounts.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

ANN = {"username": "ann@example.com", "password": "correct horse"}
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile "
    "Safari/604.1"
)
EDGE = f"{CHROME} Edg/140.0".replace("Linux; Android 15", "Windows NT 10.0")


@pytest.fixture
def ann():
    return User.objects.create_user(ANN["username"], ANN["password"], name="Ann")


def browser(name=FIREFOX):
    client = Client(headers={"user-agent": name})
    assert client.post("/accounts/login/", ANN).status_code == 302
    return client


def listed(client):
    return client.get("/accounts/devices/").context["all"]


def is_logged_in(client):
    return client.get("/accounts/").status_code == 200


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (FIREFOX, "Firefox on Windows"),
        (CHROME, "Chrome on Android"),
        (SAFARI, "Safari on iPhone"),
        (EDGE, "Edge on Windows"),
        ("curl/8", ""),
        ("(X11; Linux x86_64)", "A browser on Linux"),
        ("", ""),
    ],
)
def test_a_browser_is_told_in_plain_words(said, words):
    assert browser_of(RequestFactory().get("/", headers={"user-agent": said})) == words


def test_sessions_and_tokens_are_listed_this_one_first(ann):
    _other, mine, (token, _) = browser(CHROME), browser(), AuthToken.objects.create(ann)
    AuthToken.objects.create(UserFactory())
    Client().get("/accounts/login/")
    words = [each.words for each in listed(mine)]
    assert words == [
        "Firefox on Windows",
        "Chrome on Android",
        f"API token {token.token_key[:8]}…",
    ]
    assert [each.is_this for each in listed(mine)] == [True, False, False]


def test_a_sign_up_is_listed_with_its_browser():
    client = Client(headers={"user-agent": SAFARI})
    body = {"name": "Bob", "email": "bob@example.com", "password": "correct horse"}
    client.post("/accounts/signup/", body)
    assert [each.words for each in listed(client)] == ["Safari on iPhone"]


def test_the_page_tells_no_secret(ann):
    mine, other = browser(), browser(CHROME)
    token, secret = AuthToken.objects.create(ann)
    html = mine.get("/accounts/devices/").content.decode()
    for each in (mine.session.session_key, other.session.session_key, token.digest, secret):
        assert each not in html


@pytest.mark.parametrize("which", ["session", "token"])
def test_one_of_them_is_ended_and_the_others_stay(client, ann, which):
    mine, other, third = browser(), browser(CHROME), browser(SAFARI)
    AuthToken.objects.create(ann)
    words = "Chrome on Android" if which == "session" else "API token"
    [chosen] = [each for each in listed(mine) if each.words.startswith(words)]
    response = mine.post("/accounts/devices/", {"handle": chosen.handle}, follow=True)
    assert f"Ended: {chosen.words}." in response.content.decode()
    assert is_logged_in(mine)
    assert is_logged_in(third)
    assert is_logged_in(other) == (which == "token")
    assert AuthToken.objects.exists() == (which == "session")


def test_all_others_are_ended_at_once(ann):
    mine, other = browser(), browser(CHROME)
    AuthToken.objects.create(ann)
    bob = AuthToken.objects.create(UserFactory())[0]
    mine.post("/accounts/devices/")
    assert is_logged_in(mine)
    assert not is_logged_in(other)
    assert list(AuthToken.objects.all()) == [bob]


def test_nobody_ends_what_is_somebody_elses(ann):
    anns = browser()
    [hers] = listed(anns)
    bob = Client()
    bob.force_login(UserFactory())
    bob.post("/accounts/devices/", {"handle": hers.handle})
    assert is_logged_in(anns)


def test_a_new_password_takes_ended_sessions_off_the_list(ann):
    mine, _other = browser(), browser(CHROME)
    body = {"password": ANN["password"], "new_password": "another sentence"}
    assert mine.post("/accounts/password/", body).status_code == 302
    assert [each.words for each in listed(mine)] == ["Firefox on Windows"]
    assert Session.objects.count() == 1


def test_the_time_of_use_is_noted_once_an_hour(ann, django_assert_num_queries):
    mine = browser()
    [at_first] = listed(mine)
    listed(mine)
    assert listed(mine)[0].used_at == at_first.used_at
    long_ago = at_first.used_at - timedelta(hours=2)
    Session.objects.update(used_at=long_ago, made_at=long_ago)
    mine.get("/accounts/")
    [after] = listed(mine)
    assert after.used_at >= at_first.used_at
    assert after.made_at == long_ago
    with django_assert_num_queries(4):  # the session, its user, the sessions, the tokens
        mine.get("/accounts/devices/")


def test_logging_out_takes_the_session_off_the_list(ann):
    mine, other = browser(), browser(CHROME)
    other.post("/accounts/logout/")
    assert len(listed(mine)) == 1
