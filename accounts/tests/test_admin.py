"""Who may change whom in the back office."""

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from knox.models import AuthToken

from accounts.models import User
from accounts.tests.factories import UserFactory

pytestmark = pytest.mark.django_db

USERS = "/admin/accounts/user/"
TOKENS = "/admin/knox/authtoken/"
GROUPS = "/admin/auth/group/"


@pytest.fixture
def boss():
    return UserFactory(email="boss@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def ann():
    return UserFactory(email="ann@example.com", name="Ann")


@pytest.fixture
def staff(client):
    """Has every permission, and is no superuser. The client is logged in."""
    user = UserFactory(email="staff@example.com", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    client.force_login(user)
    return user


def delete(client, url, *rows):
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}
    return client.post(url, chosen | {"post": "yes"})


def test_staff_cannot_touch_a_superuser(client, staff, boss):
    new = {"password1": "another sentence", "password2": "another sentence"}
    change = {"email": "mine@example.com", "name": "Mine", "is_active": "on"}
    assert client.get(f"{USERS}{boss.pk}/change/").status_code == 200
    assert client.post(f"{USERS}{boss.pk}/change/", change).status_code == 403
    assert client.post(f"{USERS}{boss.pk}/password/", new).status_code == 403
    assert client.post(f"{USERS}{boss.pk}/delete/", {"post": "yes"}).status_code == 403
    assert delete(client, USERS, boss).status_code == 403
    assert User.objects.get(pk=boss.pk).email == "boss@example.com"


@pytest.mark.parametrize("whom", ["ann", "staff"])
def test_staff_give_nobody_more_power(client, staff, ann, whom):
    user = {"ann": ann, "staff": staff}[whom]
    before = user.user_permissions.count()
    body = {"email": user.email, "name": "New", "is_active": "on", "is_staff": "on"}
    body |= {"is_superuser": "on", "groups": [Group.objects.create(name="all").pk]}
    body |= {"user_permissions": [Permission.objects.first().pk]}
    assert client.post(f"{USERS}{user.pk}/change/", body).status_code == 302
    user.refresh_from_db()
    assert user.name == "New"
    assert (user.is_superuser, user.groups.count()) == (False, 0)
    assert user.user_permissions.count() == before


def test_staff_make_no_superuser(client, staff):
    new = {"password1": "another sentence", "password2": "another sentence"}
    body = {"email": "eve@example.com", "name": "Eve", "usable_password": "true", **new}
    client.post(f"{USERS}add/", body | {"is_superuser": "on", "is_staff": "on"})
    eve = User.objects.get(email="eve@example.com")
    assert (eve.is_superuser, eve.is_staff) == (False, False)


def test_only_superusers_change_groups(client, staff, boss):
    group = Group.objects.create(name="doors")
    body = {"name": "doors", "permissions": [Permission.objects.first().pk]}
    assert client.post(f"{GROUPS}{group.pk}/change/", body).status_code == 403
    assert client.post(f"{GROUPS}add/", body | {"name": "more"}).status_code == 403
    client.force_login(boss)
    assert client.post(f"{GROUPS}{group.pk}/change/", body).status_code == 302


def test_superusers_set_permissions(client, boss, ann):
    client.force_login(boss)
    body = {"email": ann.email, "name": "Ann", "is_active": "on", "is_superuser": "on"}
    assert client.post(f"{USERS}{ann.pk}/change/", body).status_code == 302
    assert User.objects.get(pk=ann.pk).is_superuser


def test_tokens_are_listed_and_revoked_and_never_made_or_shown(client, boss, ann):
    client.force_login(boss)
    row, token = AuthToken.objects.create(ann)
    page = client.get(TOKENS).content.decode()
    assert ann.email in page
    assert token[:8] not in page
    assert client.get(f"{TOKENS}add/").status_code == 403
    assert client.post(f"{TOKENS}add/", {"user": ann.pk}).status_code == 403
    assert client.post(f"{TOKENS}{row.pk}/change/", {"user": boss.pk}).status_code == 403
    assert delete(client, TOKENS, row).status_code == 302
    assert not AuthToken.objects.exists()


def test_staff_revoke_no_token_of_a_superuser(client, staff, boss):
    row = AuthToken.objects.create(boss)[0]
    assert delete(client, TOKENS, row).status_code == 403
    assert AuthToken.objects.exists()


def test_staff_with_a_history_are_not_deleted_and_the_page_says_why(client, boss, ann):
    bob = UserFactory(is_staff=True)
    LogEntry.objects.log_actions(bob.pk, [ann], CHANGE, "something", single_object=True)
    client.force_login(boss)
    for response in (
        client.get(f"{USERS}{bob.pk}/delete/"),
        client.post(f"{USERS}{bob.pk}/delete/", {"post": "yes"}),
        delete(client, USERS, bob, ann),
    ):
        page = response.content.decode()
        assert "History outlives its author" in page
        assert "permission" not in page
    assert User.objects.filter(pk__in=[bob.pk, ann.pk]).count() == 2
    assert LogEntry.objects.exists()


def test_a_user_without_a_history_is_deleted_with_the_tokens(client, boss, ann):
    AuthToken.objects.create(ann)
    client.force_login(boss)
    assert client.post(f"{USERS}{ann.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=ann.pk).exists()


# --- Staff who may do more than other staff -------------------------------------------------------


@pytest.fixture
def clerk(client):
    """May change users, and nothing else. The client is logged in."""
    user = UserFactory(email="clerk@example.com", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["change_user", "view_user", "delete_user"])
    )
    client.force_login(user)
    return user


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("through", ["own", "group"])
def test_staff_cannot_become_a_colleague_who_may_do_more(client, clerk, ann, through, active):
    may = Permission.objects.get(codename="change_concert")
    if through == "own":
        ann.user_permissions.add(may)
    else:
        group = Group.objects.create(name="bookers")
        group.permissions.add(may)
        ann.groups.add(group)
    User.objects.filter(pk=ann.pk).update(is_staff=True, is_active=active)
    new = {"password1": "another sentence", "password2": "another sentence"}
    change = {"email": "mine@example.com", "name": "Mine", "is_active": "on"}
    assert client.post(f"{USERS}{ann.pk}/password/", new).status_code == 403
    assert client.post(f"{USERS}{ann.pk}/change/", change).status_code == 403
    assert client.post(f"{USERS}{ann.pk}/delete/", {"post": "yes"}).status_code == 403
    assert delete(client, USERS, ann).status_code == 403
    assert User.objects.get(pk=ann.pk).email == "ann@example.com"


def test_staff_still_change_customers_and_colleagues_who_may_do_no_more(client, clerk, ann):
    body = {"email": ann.email, "name": "New", "is_active": "on", "is_staff": "on"}
    assert client.post(f"{USERS}{ann.pk}/change/", body).status_code == 302
    ann.user_permissions.add(Permission.objects.get(codename="change_user"))
    assert client.post(f"{USERS}{ann.pk}/change/", body | {"name": "Newer"}).status_code == 302
    ann.refresh_from_db()
    assert ann.name == "Newer"
