"""Requests with a password have threads of their own, so the rest of the site does not wait for them."""

import asyncio
from threading import Event

import pytest
from django.urls import reverse

from ticketbook import event_loop
from ticketbook.front import site
from ticketbook.front.site import has_password
from ticketbook.tests.asgi import Exchange, front_of, scope_of

PAGES = ["/accounts/login/", "/accounts/signup/", "/admin/login/"]
DOORS = [*PAGES, "/api/v1/users", "/api/v1/auth/token"]


@pytest.fixture
def hashing():
    """A site whose passwords take until `hashing.set()`."""
    return Event()


@pytest.fixture
def front(hashing):
    def application(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            assert hashing.wait(30)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    return front_of(application, threads=1)


def exchange(method, path):
    return Exchange(scope_of(method, path, [("Host", "testserver")]))


@pytest.mark.parametrize("door", DOORS)
def test_a_page_does_not_wait_for_passwords(front, hashing, door):
    async def crowd_and_a_visitor():
        crowd = [asyncio.create_task(exchange("POST", door).run(front)) for _ in range(20)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            page = await exchange("GET", "/concerts/").run(front)
        assert not any(each.done() for each in crowd)
        hashing.set()
        return page, await asyncio.gather(*crowd)

    page, crowd = event_loop.run(crowd_and_a_visitor())
    assert page.status_code == 200
    assert {each.status_code for each in crowd} == {200}
    assert not front.at_work


def test_control_without_threads_of_their_own_it_does(front, hashing, monkeypatch):
    monkeypatch.setattr(site, "has_password", lambda environ: False)

    async def crowd_and_a_visitor():
        crowd = [asyncio.create_task(exchange("POST", DOORS[0]).run(front)) for _ in range(20)]
        await asyncio.sleep(0.05)
        visitor = asyncio.create_task(exchange("GET", "/concerts/").run(front))
        done, _ = await asyncio.wait([visitor], timeout=0.3)
        hashing.set()
        await asyncio.gather(visitor, *crowd)
        return done

    assert event_loop.run(crowd_and_a_visitor()) == set()


def test_too_many_that_wait_with_a_password_are_busy_at_once(front, hashing, monkeypatch):
    monkeypatch.setattr(site, "MAX_PASSWORDS_WAITING", 3)

    async def crowd():
        tasks = [asyncio.create_task(exchange("POST", DOORS[-1]).run(front)) for _ in range(9)]
        done, _ = await asyncio.wait(tasks, timeout=0.3)
        hashing.set()
        await asyncio.gather(*tasks)
        return [task.result() for task in done]

    refused = event_loop.run(crowd())
    assert [each.status_code for each in refused] == [503] * 5  # one thread, and three that wait
    assert {each["Retry-After"] for each in refused} == {"1"}
    assert refused[0].json()["code"] == "busy"


@pytest.mark.parametrize(
    "path",
    [
        *DOORS,
        *(reverse(f"admin:{name}") for name in ("password_change", "accounts_user_add")),
        reverse("admin:auth_user_password_change", args=[1]),
    ],
)
def test_every_door_with_a_password_is_one_of_them(path):
    assert has_password({"REQUEST_METHOD": "POST", "PATH_INFO": path})
    assert not has_password({"REQUEST_METHOD": "GET", "PATH_INFO": path})


@pytest.mark.parametrize(
    "path", ["/", "/bookings/", "/api/v1/bookings", "/accounts/logout/", "/admin/"]
)
def test_other_requests_are_not(path):
    assert not has_password({"REQUEST_METHOD": "POST", "PATH_INFO": path})
