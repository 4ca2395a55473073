"""Name, password and address of one's own account."""

import threading
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.db import connections
from django.test import Client
from knox.models import AuthToken

from accounts.models import AddressChange, User
from accounts.new_address import change_of, confirm_address, link_part
from accounts.new_password import LinkUsed, PasswordChangedMeanwhile, change_password
from accounts.signup import EmailTaken
from accounts.tests.factories import UserFactory
from accounts.tests.mailed import link_of_last, mails
from mail.composing import compose
from mail.models import Mail

pytestmark = pytest.mark.django_db

ANN, OLD, NEW = "ann@example.com", "correct horse", "another sentence"


@pytest.fixture
def ann(client):
    user = User.objects.create_user(ANN, OLD, name="Ann")
    client.force_login(user)
    return user


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


@pytest.mark.parametrize("page", ["", "name/", "password/", "address/"])
def test_these_pages_are_for_those_who_are_logged_in(client, page):
    path = f"/accounts/{page}"
    assert client.get(path).url == f"/accounts/login/?next={path}"
    if page:
        assert client.post(path, {"name": "x"}).url == f"/accounts/login/?next={path}"


def test_the_menu_leads_to_the_account_and_the_account_to_its_pages(client, ann):
    assert 'href="/accounts/"' in client.get("/concerts/").content.decode()
    html = client.get("/accounts/").content.decode()
    assert "ann@example.com" in html
    for page in ("name", "password", "address"):
        assert f'href="/accounts/{page}/"' in html


def test_a_name_is_changed(client, ann):
    assert client.post("/accounts/name/", {"name": " Ann O’Neill "}).url == "/accounts/"
    ann.refresh_from_db()
    assert ann.name == "Ann O’Neill"
    for name in ("", "\u200b", "a\x00b", "x" * 151):
        assert client.post("/accounts/name/", {"name": name}).context["form"].errors["name"]


# --- Password -----------------------------------------------------------------------------------


def change(client, old=OLD, new=NEW):
    return client.post("/accounts/password/", {"password": old, "new_password": new})


def test_a_new_password_ends_everything_but_this_session(client, ann):
    AuthToken.objects.create(ann)
    elsewhere = Client()
    elsewhere.force_login(ann)
    client.post("/accounts/address/", {"password": OLD, "address": "new@example.com"})
    link = link_of_last("address_confirm")
    assert change(client).url == "/accounts/"
    assert client.get("/accounts/").status_code == 200
    assert elsewhere.get("/accounts/").status_code == 302
    assert not AuthToken.objects.exists()
    assert client.post(link).status_code == 410
    ann.refresh_from_db()
    assert ann.check_password(NEW)
    assert mails()[-1] == ("password_changed", ANN)
    assert "Ann" in compose(Mail.objects.latest("id")).body


def test_the_old_password_is_needed_and_guesses_are_slowed_down(client, ann, settings):
    settings.LOGIN_FAILURES = 3
    statuses = [change(client, old="a guess").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert change(client).status_code == 429
    ann.refresh_from_db()
    assert ann.check_password(OLD)


@pytest.mark.parametrize("new", ["short", "password", ANN, ""])
def test_a_weak_password_is_told_beside_its_field(client, ann, new):
    response = change(client, new=new)
    assert response.context["form"].errors["new_password"]
    assert OLD not in response.content.decode()


def test_a_password_that_was_set_meanwhile_is_not_overwritten(ann):
    User.objects.filter(pk=ann.pk).update(password="set meanwhile")
    with pytest.raises(PasswordChangedMeanwhile):
        change_password(ann, password=NEW)
    ann.refresh_from_db()
    assert ann.password == "set meanwhile"


# --- Address ------------------------------------------------------------------------------------


def ask(client, address="new@example.com", password=OLD):
    return client.post("/accounts/address/", {"password": password, "address": address})


def test_the_new_address_confirms_and_the_old_one_is_told(client, ann):
    assert ask(client, "NEW@Example.com").url == "/accounts/"
    ann.refresh_from_db()
    assert ann.email == ANN
    link = link_of_last("address_confirm")
    assert "new@example.com" in Client().get(link).content.decode()
    ann.refresh_from_db()
    assert ann.email == ANN  # opening the link changes nothing yet
    assert Client().post(link).url == "/accounts/login/"
    ann.refresh_from_db()
    assert ann.email == "new@example.com"
    assert mails() == [("address_confirm", "new@example.com"), ("address_changed", ANN)]
    assert compose(Mail.objects.latest("id"))
    assert client.get("/accounts/").status_code == 200
    assert client.post(link).status_code == 410


def test_the_browser_that_is_logged_in_goes_on_to_the_account(client, ann):
    ask(client)
    response = client.post(link_of_last("address_confirm"))
    assert response.url == "/accounts/"
    assert told(response)[-1] == "Your account has the address new@example.com now."


def test_a_link_does_not_bring_an_address_back(client, ann):
    ask(client)
    first = link_of_last("address_confirm")
    client.post(first)
    ask(client, ANN)
    client.post(link_of_last("address_confirm"))
    assert client.post(first).status_code == 410
    ann.refresh_from_db()
    assert ann.email == ANN


def test_a_second_wish_ends_the_first_link_and_its_mail(client, ann):
    ask(client, "first@example.com")
    first, waiting = link_of_last("address_confirm"), Mail.objects.get()
    ask(client, "second@example.com")
    assert client.post(first).status_code == 410
    assert compose(waiting) is None


def test_a_link_ends_after_a_day(client, ann):
    ask(client)
    link = link_of_last("address_confirm")
    change = AddressChange.objects.get()
    AddressChange.objects.update(made_at=change.made_at - timedelta(days=1))
    assert client.get(link).status_code == client.post(link).status_code == 410


@pytest.mark.parametrize("link", ["x", "x:y", "%00:y", "a" * 500])
def test_a_made_up_link_is_refused(client, link):
    assert client.get(f"/accounts/confirm/{link}/").status_code == 410


def test_a_link_that_was_changed_is_refused(client, ann):
    ask(client)
    _pk, _, signature = link_part(AddressChange.objects.get()).partition(":")
    other = AddressChange.objects.create(user=UserFactory(), email="other@example.com")
    assert client.get(f"/accounts/confirm/{other.pk.hex}:{signature}/").status_code == 410


def test_the_password_is_needed(client, ann):
    assert ask(client, password="wrong").context["form"].errors["password"]
    assert not mails()


@pytest.mark.parametrize("taken", ["bob@example.com", "ＢＯＢ@example.com", ANN])
def test_an_address_with_an_account_is_refused(client, ann, taken):
    UserFactory(email="bob@example.com")
    assert "already" in str(ask(client, taken).context["form"].errors["address"])
    assert not mails()


def test_an_address_that_was_taken_meanwhile_stays_with_its_account(client, ann):
    ask(client)
    link = link_of_last("address_confirm")
    UserFactory(email="new@example.com")
    assert client.post(link).status_code == 409
    ann.refresh_from_db()
    assert ann.email == ANN


@pytest.mark.django_db(transaction=True)
def test_a_race_for_one_address_has_one_winner():
    wishes = [
        AddressChange.objects.create(user=UserFactory(), email="new@example.com") for _ in "ab"
    ]
    together, outcomes = threading.Barrier(2, timeout=10), []

    def confirm(wish):
        change = change_of(link_part(wish))
        together.wait()
        try:
            confirm_address(change)
            outcomes.append("changed")
        except EmailTaken:
            outcomes.append("taken")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=confirm, args=[wish]) for wish in wishes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["changed", "taken"]
    assert User.objects.filter(email="new@example.com").count() == 1


def test_a_link_is_used_once_even_at_the_same_moment(ann):
    change = AddressChange.objects.create(user=ann, email="new@example.com")
    confirm_address(change)
    with pytest.raises(LinkUsed):
        confirm_address(change)


def test_mails_to_one_address_are_slowed_down(client, ann):
    addresses = ["new@example.com"] * 4
    assert [ask(client, each).status_code for each in addresses] == [302, 302, 302, 429]
