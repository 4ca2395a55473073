"""Signing up, logging in and tokens in the API."""

import json
from collections import Counter
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from accounts.models import User
from accounts.signup import EmailTaken, sign_up
from bookings.tests.racing import race

pytestmark = pytest.mark.django_db

ANN = {"email": "ann@example.com", "password": "a long sentence", "name": "Ann"}


@pytest.fixture
def post(client):
    def post(path, body, **headers):
        return client.post(
            f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers
        )

    return post


def code(response):
    assert response["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def fields(response):
    assert code(response) == (400, "invalid")
    return [(e["field"], e["code"]) for e in response.json()["errors"]]


def test_signing_up_and_logging_in_and_out(post, client):
    response = post("users", ANN)
    user = User.objects.get()
    assert response.status_code == 201
    assert response.json() == {"userId": user.public_id, "email": "ann@example.com", "name": "Ann"}
    assert user.public_id.startswith("user_")
    assert len(user.public_id) == 37

    log_in = post("auth/token", {"email": "ann@example.com", "password": ANN["password"]})
    assert log_in.status_code == 200
    assert set(log_in.json()) == {"token", "expiry", "userId"}
    assert log_in.json()["userId"] == user.public_id

    headers = {"Authorization": f"Token {log_in.json()['token']}"}
    assert client.get("/api/v1/bookings", headers=headers).json() == []
    assert client.delete("/api/v1/auth/token", headers=headers).status_code == 204
    assert code(client.get("/api/v1/bookings", headers=headers)) == (401, "not_authenticated")
    assert code(client.delete("/api/v1/auth/token", headers=headers)) == (401, "not_authenticated")


def test_an_address_is_the_same_in_any_case(post):
    post("users", ANN)
    assert fields(post("users", ANN | {"email": "ANN@Example.com"})) == [("email", "unique")]
    token = post("auth/token", {"email": "ANN@EXAMPLE.COM", "password": ANN["password"]})
    assert token.status_code == 200


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"email": "ann"}, ("email", "invalid")),
        ({"email": ""}, ("email", "blank")),
        ({"email": None}, ("email", "null")),
        ({"email": 5}, ("email", "invalid")),
        ({"email": "a@b.example\x00"}, ("email", "null_characters_not_allowed")),
        ({"email": "x" * 250 + "@example.com"}, ("email", "max_length")),
        ({"email": "x@" + "İ." * 120 + "example.com"}, ("email", "max_length")),
        ({"password": "short"}, ("password", "password_too_weak")),
        ({"password": "12345678"}, ("password", "password_too_weak")),
        ({"password": "password"}, ("password", "password_too_weak")),
        ({"password": "ｐａｓｓｗｏｒｄ"}, ("password", "password_too_weak")),
        ({"password": " " * 8}, ("password", "password_too_weak")),
        ({"password": "Ann@Example.com"}, ("password", "password_too_weak")),
        ({"password": "Ann Bronte", "name": "ann bronte"}, ("password", "password_too_weak")),
        ({"password": "x" * 129}, ("password", "max_length")),
        ({"password": 12345678}, ("password", "invalid")),
        ({"name": ""}, ("name", "blank")),
        ({"name": "A\u200bnn"}, ("name", "hidden_characters")),
        ({"name": "\u2800"}, ("name", "hidden_characters")),
        ({"name": "A\nnn"}, ("name", "hidden_characters")),
        ({"name": "\u0301"}, ("name", "nothing_to_see")),
        ({"email": "ann@exam\u200bple.com"}, ("email", "hidden_characters")),
        ({"email": '"\x01"@example.com'}, ("email", "hidden_characters")),
        ({"name": "x" * 151}, ("name", "max_length")),
        ({"name": "\ud800"}, ("name", "surrogate_characters_not_allowed")),
        ({"is_staff": True}, ("is_staff", "unknown_field")),
    ],
)
def test_signing_up_with_bad_input(post, change, error):
    assert error in fields(post("users", ANN | change))
    assert not User.objects.exists()


@pytest.mark.parametrize("field", ANN)
def test_signing_up_without_a_field(post, field):
    body = {k: v for k, v in ANN.items() if k != field}
    assert fields(post("users", body)) == [(field, "required")]


@pytest.mark.parametrize(
    "credentials",
    [
        {"email": "ann@example.com", "password": "wrong"},
        {"email": "nobody@example.com", "password": ANN["password"]},
    ],
)
def test_a_wrong_log_in_does_not_say_what_was_wrong(post, credentials):
    post("users", ANN)
    response = post("auth/token", credentials)
    assert code(response) == (401, "not_authenticated")
    assert response.json()["detail"] == "The e-mail address or the password is not right."


def test_a_dead_token_does_not_stand_in_the_way_of_a_new_one(post):
    post("users", ANN)
    credentials = {k: ANN[k] for k in ("email", "password")}
    assert post("auth/token", credentials, Authorization="Token dead").status_code == 200


def test_a_closed_account_has_no_way_in(post, client):
    post("users", ANN)
    user = User.objects.get()
    token = AuthToken.objects.create(user)[1]
    User.objects.update(is_active=False)
    headers = {"Authorization": f"Token {token}"}
    assert code(client.get("/api/v1/bookings", headers=headers)) == (401, "not_authenticated")
    credentials = {k: ANN[k] for k in ("email", "password")}
    assert code(post("auth/token", credentials)) == (401, "not_authenticated")


def test_an_expired_token_is_dead(client):
    token = AuthToken.objects.create(sign_up(**ANN), expiry=timedelta(seconds=-1))[1]
    headers = {"Authorization": f"Token {token}"}
    assert code(client.get("/api/v1/bookings", headers=headers)) == (401, "not_authenticated")


def test_a_token_is_stored_as_a_digest_only():
    row, token = AuthToken.objects.create(sign_up(**ANN))
    assert token not in (row.digest, row.token_key)
    assert row.expiry > timezone.now()


@pytest.mark.django_db(transaction=True)
def test_eight_sign_ups_race_for_one_address():
    assert race(lambda i: sign_up(**ANN), 8) == Counter({EmailTaken: 7, User: 1})


def test_the_admin_makes_users_in_lower_case_too(admin_client):
    response = admin_client.post(
        "/admin/accounts/user/add/",
        {
            "email": "Carol@Example.com",
            "name": "Carol",
            "usable_password": "true",
            "password1": "a long sentence",
            "password2": "a long sentence",
        },
    )
    assert response.status_code == 302, response.context["adminform"].form.errors
    assert User.objects.filter(email="carol@example.com").exists()


def test_logging_in_needs_no_csrf_and_no_cookie():
    client = Client(enforce_csrf_checks=True)
    response = client.post("/api/v1/users", json.dumps(ANN), content_type="application/json")
    assert response.status_code == 201
    assert not response.cookies


def test_a_session_of_the_pages_does_not_count_in_the_api(client):
    """The API does not even load the session."""
    client.force_login(sign_up(**ANN))
    response = client.get("/api/v1/bookings")
    assert code(response) == (401, "not_authenticated")
    assert not response.cookies
    assert not hasattr(response.wsgi_request, "session")
