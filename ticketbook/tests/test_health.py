import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder

from concerts.tests.factories import ConcertFactory
from ticketbook import health
from ticketbook.postgres.failures import is_busy

pytestmark = pytest.mark.django_db


def test_the_process_answers_without_asking_the_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/livez").status_code == 200


def test_ready_when_the_database_takes_writes_and_is_migrated(client):
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_asked_by_the_machines_own_address(client, settings, path):
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200


def test_not_ready_while_a_migration_is_missing(client, monkeypatch):
    monkeypatch.setattr(health, "_migrated", False)
    MigrationRecorder.Migration.objects.filter(app="bookings").delete()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert b"manage.py migrate" in response.content


def test_not_ready_while_the_database_takes_no_writes(client):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL transaction_read_only = on")
    response = client.get("/readyz")
    assert response.status_code == 503
    assert b"takes no writes" in response.content


def test_what_the_server_says_of_itself(client):
    body = client.get("/api/v1/health-check").json()
    assert body["status"] == "ok"
    assert body["timestamp"].endswith("Z")
    assert body["uptime"] > 0
    assert body["environment"] == "production"


def test_the_api_describes_its_times_and_zones(client):
    schemas = client.get("/api/v1/openapi.json").json()["components"]["schemas"]
    concert = schemas["ConcertWithTiers"]["properties"]
    assert (concert["date"]["format"], concert["timeZone"]["type"]) == ("date-time", "string")


def test_the_api_describes_itself(client):
    schema = client.get("/api/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert {
        "/api/v1/concerts",
        "/api/v1/concerts/{concert_id}",
        "/api/v1/concerts/{concert_id}/availability",
        "/api/v1/users",
        "/api/v1/auth/token",
        "/api/v1/bookings",
        "/api/v1/bookings/{booking_id}",
        "/api/v1/bookings/{booking_id}/cancellation",
        "/api/v1/health-check",
    } <= set(schema["paths"])
    assert b"swagger" in client.get("/api/v1/docs").content.lower()


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/", "/api/v1/concerts/"])
def test_an_unknown_address_of_the_api_is_a_problem(client, path):
    response = client.get(path)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_found"


# --- The database cannot serve us now -----------------------------------------------------------------


@pytest.fixture
def lock_timeout():
    """A real lock timeout: another session holds the lock."""
    with pytest.raises(OperationalError) as error:
        waits_in_vain()
    return error.value


def waits_in_vain():
    other = connection.copy()
    try:
        with other.cursor() as cursor, connection.cursor() as mine:
            cursor.execute("SELECT pg_advisory_lock(1)")
            mine.execute("SAVEPOINT here; SET LOCAL lock_timeout = '1ms'")
            try:
                mine.execute("SELECT pg_advisory_lock(1)")
            finally:
                mine.execute("ROLLBACK TO SAVEPOINT here")
    finally:
        other.close()


def test_a_lock_timeout_is_busy_and_a_bug_is_not(lock_timeout):
    assert is_busy(lock_timeout)
    assert not is_busy(OperationalError("a bug"))
    assert not is_busy(ValueError())


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/api/v1/concerts", "application/problem+json"), ("/concerts/", "text/html; charset=utf-8")],
)
def test_busy_answers_503_and_when_to_come_back(
    client, monkeypatch, lock_timeout, path, content_type
):
    def refuse(*args, **options):
        raise lock_timeout

    ConcertFactory()
    for module in ("concerts.api", "concerts.views"):
        monkeypatch.setattr(f"{module}.search", refuse)
    response = client.get(path)
    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert response["Content-Type"] == content_type


def test_a_database_that_takes_no_writes_is_busy(client):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL transaction_read_only = on")
    response = client.post(
        "/api/v1/users",
        {"email": "ann@example.com", "password": "a long sentence", "name": "Ann"},
        content_type="application/json",
    )
    assert (response.status_code, response.json()["code"]) == (503, "busy")


def test_only_get_reads_the_docs(client):
    assert client.options("/api/v1/docs").status_code == 405


@pytest.mark.parametrize("path", ["/api/v1/concerts", "/"])
def test_a_foreign_host_is_a_bad_request(client, path):
    response = client.get(path, headers={"host": "evil.example"})
    assert response.status_code == 400
    assert ("problem" in response["Content-Type"]) == path.startswith("/api/")


def test_an_error_of_ours_is_a_problem_for_the_api(client, monkeypatch):
    def explode(*args, **options):
        raise RuntimeError("a bug")

    client.raise_request_exception = False
    monkeypatch.setattr("concerts.api.search", explode)
    response = client.get("/api/v1/concerts")
    assert response.status_code == 500
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "server_error"
