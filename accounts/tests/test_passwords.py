"""A password is the same, however it is typed, and it is not one that others guess."""

import json
from unittest.mock import patch

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.core.exceptions import ValidationError
from knox.models import AuthToken

from accounts.backend import PasswordBackend
from accounts.models import User
from accounts.passwords import NotBlank
from accounts.tests.factories import UserFactory
from ticketbook.tests.forms import form_of

pytestmark = pytest.mark.django_db

COMPOSED = "caf\u00e9 und \ufb01lm"
DECOMPOSED = "cafe\u0301 und film"
ANN = "ann@example.com"


def page(client, password):
    client.post("/accounts/login/", {"username": ANN, "password": password})
    return "_auth_user_id" in client.session


def admin(client, password):
    client.post("/admin/login/", {"username": ANN, "password": password})
    return "_auth_user_id" in client.session


def api(client, password):
    body = json.dumps({"email": ANN, "password": password})
    return (
        client.post("/api/v1/auth/token", body, content_type="application/json").status_code == 200
    )


@pytest.mark.parametrize("log_in", [page, admin, api])
@pytest.mark.parametrize(("signed_up", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_password_works_however_its_letters_are_written(client, log_in, signed_up, typed):
    User.objects.create_user(ANN, signed_up, name="Ann", is_staff=True)
    assert log_in(client, typed)


@pytest.mark.parametrize("log_in", [page, admin, api])
def test_a_password_that_was_hashed_as_it_was_typed_still_works(client, log_in):
    User.objects.create(email=ANN, password=make_password(COMPOSED), name="Ann", is_staff=True)
    assert log_in(client, COMPOSED)


@pytest.mark.parametrize("password", ["wrong password", COMPOSED])
def test_a_refusal_hashes_as_often_for_an_unknown_address(password):
    User.objects.create_user(ANN, "a long sentence", name="Ann")
    User.objects.create_user("bob@example.com", None, name="Bob")
    User.objects.create_user("eve@example.com", "a long sentence", name="Eve", is_active=False)
    hashed = []
    for email in (ANN, "bob@example.com", "eve@example.com", "nobody@example.com"):
        with patch.object(
            MD5PasswordHasher, "encode", autospec=True, side_effect=MD5PasswordHasher.encode
        ) as encode:
            assert PasswordBackend().authenticate(None, username=email, password=password) is None
        hashed.append(encode.call_count)
    assert hashed == [1 + (password == COMPOSED)] * 4


@pytest.mark.parametrize("password", ["12345678", "password", " " * 8, "carol@example.com"])
def test_the_back_office_refuses_a_weak_password_too(admin_client, password):
    body = {"email": "carol@example.com", "name": "Carol", "usable_password": "true"}
    body |= {"password1": password, "password2": password}
    response = admin_client.post("/admin/accounts/user/add/", body)
    assert response.context["adminform"].form.errors["password2"]
    assert not User.objects.filter(email="carol@example.com").exists()


def test_only_spaces_of_any_kind_are_no_password():
    with pytest.raises(ValidationError, match="only spaces"):
        NotBlank().validate(" \u3000\u00a0 \t    ")


@pytest.mark.parametrize("password", ["\u200b" * 8, "\u2800" * 8, " \u00ad" * 4, "\u3164" * 9])
def test_characters_that_nobody_sees_are_no_password(client, password):
    body = {"email": "carol@example.com", "name": "Carol", "password": password}
    response = client.post("/api/v1/users", body, "application/json")
    assert [error["field"] for error in response.json()["errors"]] == ["password"]
    assert client.post("/accounts/signup/", body).context["form"].errors["password"]
    assert not User.objects.filter(email="carol@example.com").exists()


# --- A new password ends the API tokens -----------------------------------------------------------


@pytest.fixture
def ann():
    user = User.objects.create_user(ANN, "a long sentence", name="Ann", is_staff=True)
    AuthToken.objects.create(user)
    return user


NEW = {"password1": "another sentence", "password2": "another sentence", "usable_password": "true"}
NONE = {"usable_password": "false", "unset-password": "yes"}


@pytest.mark.parametrize("form", [NEW, NONE])
def test_a_password_that_staff_set_or_take_away_ends_the_tokens(admin_client, ann, form):
    other = AuthToken.objects.create(User.objects.create_user("bob@example.com", None, name="Bob"))
    assert admin_client.post(f"/admin/accounts/user/{ann.pk}/password/", form).status_code == 302
    assert AuthToken.objects.get() == other[0]


def test_a_new_password_of_ones_own_ends_the_tokens(client, ann):
    client.force_login(ann)
    body = {"old_password": "a long sentence"}
    body |= {"new_password1": "another sentence", "new_password2": "another sentence"}
    assert client.post("/admin/password_change/", body).status_code == 302
    assert not AuthToken.objects.exists()


def test_a_log_in_that_renews_the_hash_ends_no_token(ann, settings):
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    assert PasswordBackend().authenticate(None, username=ANN, password="a long sentence")
    ann.refresh_from_db()
    assert ann.password.startswith("scrypt$")
    assert AuthToken.objects.exists()


# --- A password and what others write meanwhile -------------------------------------------------


def own_password_form():
    new = "another sentence"
    return {"old_password": "a sentence", "new_password1": new, "new_password2": new}


@pytest.mark.parametrize("whose", ["own", "somebody's"])
def test_a_new_password_writes_nothing_else(client, ann, monkeypatch, whose):
    """Ann is deactivated while the new password is being hashed."""
    staff = UserFactory(is_staff=True, is_superuser=True)
    staff.set_password("a sentence")
    staff.save()
    client.force_login(staff)
    if whose == "own":
        user, url, form = staff, "/admin/password_change/", own_password_form()
    else:
        new = {"password1": "another sentence", "password2": "another sentence"}
        user, url, form = (
            ann,
            f"/admin/accounts/user/{ann.pk}/password/",
            new | {"set-password": ""},
        )
    set_password = User.set_password

    def deactivate(self, raw_password):
        User.objects.filter(pk=user.pk).update(is_active=False)
        set_password(self, raw_password)

    monkeypatch.setattr(User, "set_password", deactivate)
    assert client.post(url, form).status_code == 302
    user.refresh_from_db()
    assert user.check_password("another sentence")
    assert not user.is_active


def test_a_password_that_somebody_else_has_set_is_not_overwritten_unseen(admin_client, ann):
    url = f"/admin/accounts/user/{ann.pk}/password/"
    opened = form_of(admin_client.get(url), "user_form")
    first, second = (
        opened | {"password1": [new], "password2": [new], "set-password": [""]}
        for new in ("a first sentence", "a second sentence")
    )
    assert admin_client.post(url, first).status_code == 302
    refused = admin_client.post(url, second)
    assert "The password was changed while this form was open." in refused.content.decode()
    ann.refresh_from_db()
    assert ann.check_password("a first sentence")
    opened = form_of(refused, "user_form")
    assert admin_client.post(url, second | {"before": opened["before"]}).status_code == 302
    ann.refresh_from_db()
    assert ann.check_password("a second sentence")


def test_hashing_a_password_anew_does_not_bring_an_old_one_back(ann, settings):
    ann.set_password("a sentence")
    ann.save()
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    logging_in = User.objects.get(pk=ann.pk)
    User.objects.filter(pk=ann.pk).update(password="set meanwhile")
    assert logging_in.check_password("a sentence")
    ann.refresh_from_db()
    assert ann.password == "set meanwhile"
