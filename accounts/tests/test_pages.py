import pytest
from django.urls import reverse

from accounts.models import User

pytestmark = pytest.mark.django_db

ANN = {"name": "Ann", "email": "ann@example.com", "password": "correct horse"}


@pytest.fixture
def ann():
    return User.objects.create_user(ANN["email"], ANN["password"], name="Ann")


def sign_up(client, **fields):
    return client.post("/accounts/signup/", {**ANN, **fields})


def log_in(client, **fields):
    return client.post(
        "/accounts/login/", {"username": ANN["email"], "password": ANN["password"], **fields}
    )


def logged_in(client):
    return "_auth_user_id" in client.session


def test_sign_up_logs_in_and_goes_on_to_the_concerts(client):
    response = sign_up(client)
    assert response.status_code == 302
    assert response.url == reverse("concerts:list")
    assert logged_in(client)
    assert User.objects.get().check_password(ANN["password"])


def test_the_name_and_the_address_are_trimmed(client):
    sign_up(client, name=" Ann O’Neill \n", email=" ann@example.com ")
    user = User.objects.get()
    assert (user.name, user.email) == ("Ann O’Neill", "ann@example.com")


def test_taken_address_is_told_beside_its_field_in_any_letter_case(client, ann):
    response = sign_up(client, email="ANN@Example.com")
    assert "signed up with this e-mail address already" in str(
        response.context["form"]["email"].errors
    )
    assert not logged_in(client)
    assert User.objects.count() == 1
    assert 'value="ANN@Example.com"' in response.content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", " "), ("name", "x" * 151), ("name", "a\x00b"),
        ("name", "A\u200bnn"), ("name", "\u2800"), ("name", "A\nnn"), ("name", "\u0301"),
        ("email", "ann@exam\u200bple.com"), ("email", '"\x01"@example.com'),
        ("email", ""), ("email", "nobody"), ("email", "x" * 250 + "@example.com"),
        ("password", "12345678"), ("password", "password"), ("password", " " * 8),
        ("password", "ann@example.com"), ("password", "ｐａｓｓｗｏｒｄ"),
        ("password", ""), ("password", "short"), ("password", "x" * 129),
    ],
)  # fmt: skip
def test_bad_input_is_told_beside_its_field(client, field, value):
    response = sign_up(client, **{field: value})
    assert response.context["form"][field].errors
    assert not User.objects.exists()
    assert ANN["password"] not in response.content.decode()


def test_spaces_in_a_password_count(client):
    sign_up(client, password=" eight char ")
    assert User.objects.get().check_password(" eight char ")


def test_log_in_takes_the_address_in_any_letter_case(client, ann):
    response = log_in(client, username="Ann@EXAMPLE.com")
    assert response.status_code == 302
    assert logged_in(client)


def test_wrong_password_and_unknown_address_look_the_same(client, ann):
    wrong = log_in(client, password="wrong")
    unknown = log_in(client, username="bob@example.com")
    assert not logged_in(client)
    for response in (wrong, unknown):
        assert response.context["form"].non_field_errors() == [
            "The e-mail address or the password is not right."
        ]


@pytest.mark.parametrize("form", [sign_up, log_in])
def test_next_is_honoured(client, form, request):
    if form is log_in:
        request.getfixturevalue("ann")
    assert form(client, next="/bookings/").url == "/bookings/"


@pytest.mark.parametrize("form", [sign_up, log_in])
@pytest.mark.parametrize(
    "evil", ["https://evil.example", "//evil.example", "\\\\evil.example", "javascript:alert(1)"]
)
def test_next_never_leads_away(client, form, evil, request):
    if form is log_in:
        request.getfixturevalue("ann")
    assert form(client, next=evil).url == "/concerts/"


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/signup/"])
def test_pages_pass_next_on_to_each_other(client, path):
    html = client.get(path, {"next": "/concerts/1/?tier=2&quantity=3"}).content.decode()
    assert "?next=%2Fconcerts%2F1%2F%3Ftier%3D2%26quantity%3D3" in html
    assert 'name="next" value="/concerts/1/?tier=2&amp;quantity=3"' in html
    assert "evil" not in client.get(path, {"next": "https://evil.example"}).content.decode()


def test_logging_out_takes_a_post(client, ann):
    client.force_login(ann)
    assert client.get("/accounts/logout/").status_code == 405
    assert logged_in(client)
    assert client.post("/accounts/logout/").url == "/concerts/"
    assert not logged_in(client)


def test_a_logged_in_customer_is_sent_on_from_the_log_in_page(client, ann):
    client.force_login(ann)
    assert client.get("/accounts/login/").status_code == 302


BACK = [
    "/accounts/login/",
    "/accounts/login/?next=/accounts/login/",
    "http://testserver/accounts/login/",
    "/accounts/log%69n/",
    "\\accounts\\login/",
    "?again",
    "../login/",
    "/accounts/login",
    "/accounts/logout/",
]


@pytest.mark.parametrize("back", BACK)
def test_a_next_that_leads_back_to_log_in_or_log_out_leads_to_the_concerts(client, ann, back):
    assert log_in(client, next=back).url == "/concerts/"
    # Now with the session of somebody who is logged in.
    assert client.get("/accounts/login/", {"next": back}).url == "/concerts/"


@pytest.mark.parametrize("back", ["/accounts/login/", "/accounts/logout/"])
def test_sign_up_does_not_lead_back_to_log_in_or_log_out(client, back):
    assert sign_up(client, next=back).url == "/concerts/"


def test_a_name_is_text_and_not_markup(client):
    html = sign_up(client, name="<script>", email="nobody").content.decode()
    assert "<script" not in html
