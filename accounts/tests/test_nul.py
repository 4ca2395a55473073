"""PostgreSQL cannot hold NUL. Whoever sends it finds nothing."""

import pytest
from django.test import Client
from knox.models import AuthToken

from accounts.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "cookie", ['"\\000"', '"\\000aaaaaaaaaaaaaaaa"', '"aaaaaaaaaaaaaaaa\\000"']
)
@pytest.mark.parametrize("path", ["/concerts/", "/bookings/", "/accounts/login/", "/admin/"])
def test_a_session_cookie_with_nul_is_no_session(cookie, path):
    client = Client(headers={"Cookie": f"sessionid={cookie}"})
    assert client.get(path).status_code in {200, 302}


@pytest.mark.parametrize(
    "path",
    [
        "bookings/booking/?status__exact=%00",
        "bookings/booking/?q=%00",
        "accounts/user/?is_staff__exact=%00",
        "accounts/user/?email=%00",
        "concerts/concert/?name=%00",
        "accounts/user/%00/change/",
        "accounts/user/_00/change/",
        "knox/authtoken/%00/change/",
        "knox/authtoken/_00/delete/",
        "%00/",
    ],
)
def test_the_back_office_finds_nothing_by_nul(admin_client, path):
    assert admin_client.get(f"/admin/{path}").status_code in {200, 302, 404}


def test_a_filter_by_nul_has_an_empty_result(admin_client):
    page = admin_client.get("/admin/accounts/user/?email=%00")
    assert page.context["cl"].result_count == 0


def test_the_completion_of_nul_is_empty(admin_client):
    choice = {"app_label": "concerts", "model_name": "tickettier", "field_name": "concert"}
    response = admin_client.get("/admin/autocomplete/", choice | {"term": "\0"})
    assert response.status_code == 200
    assert response.json()["results"] == []


def test_a_token_chosen_by_nul_is_not_found(admin_client):
    AuthToken.objects.create(UserFactory())
    chosen = {"action": "delete_selected", "_selected_action": ["\0"], "post": "yes"}
    assert admin_client.post("/admin/knox/authtoken/", chosen).status_code == 404
    assert AuthToken.objects.exists()


@pytest.mark.parametrize("key", ["__class__", "0", "", "%00"])
def test_a_chosen_row_whose_key_is_no_uuid_is_no_error_of_ours(admin_client, key):
    form = {"concert": key, "tier_type": "VIP", "price": "1", "total_quantity": ""}
    answer = admin_client.post("/admin/concerts/tickettier/add/", form)
    assert answer.status_code in {200, 400}


@pytest.mark.django_db(transaction=True)
def test_a_filter_by_a_value_that_its_column_cannot_hold_is_no_error_of_ours(admin_client):
    jobs = "/admin/procrastinate/procrastinatejob/"
    assert admin_client.get(f"{jobs}?status__exact=unknown").status_code in {200, 302, 400}
