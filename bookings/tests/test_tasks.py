"""The job queue, with a real worker."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.utils import timezone
from procrastinate import periodic, utils
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from bookings import rescuing
from bookings.cancelling import cancel
from bookings.jobs import defer
from bookings.models import Booking, Refund
from bookings.tasks import EVERY_TEN_SECONDS, find_owed_refunds, rescue_jobs, resolve_holds
from ticketbook.postgres import clock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_queue")]


@pytest.fixture
def work():
    """Run a real worker until the queue is empty.

    It does one job at a time: with more, it stops when none is waiting, and the one at work may make others.
    """

    def work():
        async def run():
            async with app.open_async():
                await app.run_worker_async(concurrency=1, wait=False, install_signal_handlers=False)

        with app.replace_connector(app.connector.get_worker_connector()):
            asyncio.run(run())

    return work


def queued():
    return list(ProcrastinateJob.objects.order_by("id").values_list("task_name", "status"))


def test_a_rollback_takes_the_job_along(ledger, ann, tier, book):
    booking = book(ann, tier)
    with transaction.atomic():
        defer("refund_booking", booking)
        transaction.set_rollback(True)
    assert queued() == []
    defer("refund_booking", booking)
    assert queued() == [("bookings.tasks.refund_booking", "todo")]


def in_a_worker(act):
    """Call it as a worker calls a job."""

    async def run():
        async with app.open_async():
            await utils.sync_to_async(act)

    with app.replace_connector(app.connector.get_worker_connector()):
        asyncio.run(run())


def test_in_a_worker_too_a_job_belongs_to_the_transaction_that_defers_it(ann, tier, book):
    """Otherwise the next job could begin before what it is about is committed, and find nothing to do."""
    booking, seen = book(ann, tier), []

    def act():
        try:
            with transaction.atomic():
                defer("refund_booking", booking)
                seen.append(queued_elsewhere())
                transaction.set_rollback(True)
            seen.append(queued_elsewhere())
            with transaction.atomic():
                defer("refund_booking", booking)
            seen.append(queued_elsewhere())
        finally:
            connection.close()

    in_a_worker(act)
    assert seen == [0, 0, 1]


def queued_elsewhere():
    """How many jobs another connection sees."""
    params = connection.get_connection_params()
    params.pop("cursor_factory")
    params.pop("context")
    with psycopg.connect(**params) as other:
        return other.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()[0]


def test_the_worker_sends_a_refund_that_failed_at_first(ledger, ann, tier, book, work):
    booking = book(ann, tier)
    ledger.mode("outage")
    cancel(booking, now=timezone.now())
    ledger.mode("approve")
    work()
    booking.refresh_from_db()
    assert booking.payment_status == Booking.PaymentStatus.REFUNDED
    assert ledger.refunded() == {str(booking.pk): booking.total_price}


def test_a_refund_is_tried_until_it_is_done(ledger, ann, tier, book, work):
    booking = book(ann, tier)
    ledger.mode("outage")
    cancel(booking, now=timezone.now())
    work()
    job = ProcrastinateJob.objects.get(task_name="bookings.tasks.refund_booking")
    assert (job.status, job.attempts) == ("todo", 1)
    assert job.scheduled_at > timezone.now()


def test_the_worker_resolves_holds_past_their_time(ledger, ann, tier, book, work, left):
    ledger.mode("lose_answer")
    paid = book(ann, tier, now=timezone.now() - timedelta(minutes=2))
    ledger.mode("lose_request")
    unpaid = book(ann, tier, now=timezone.now() - timedelta(minutes=2))
    ledger.mode("approve")
    resolve_holds.defer(timestamp=0)
    work()
    paid.refresh_from_db()
    unpaid.refresh_from_db()
    assert (paid.status, unpaid.status) == ("CONFIRMED", "FAILED")
    assert left(tier) == 99


def test_a_refund_whose_job_is_lost_is_found_by_its_row(ledger, ann, tier, book, work):
    booking = book(ann, tier)
    ledger.mode("outage")
    cancel(booking, now=timezone.now())
    ledger.mode("approve")
    ProcrastinateJob.objects.all()._raw_delete("default")
    find_owed_refunds.defer(timestamp=0)
    work()
    booking.refresh_from_db()
    assert (
        booking.payment_status == "SUCCESS"
    )  # it was made less than a minute ago, so its job may be at work
    Refund.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    find_owed_refunds.defer(timestamp=0)
    find_owed_refunds(timestamp=0)
    work()
    booking.refresh_from_db()
    assert booking.payment_status == "REFUNDED"
    assert ledger.calls("refund") == 1


def test_the_jobs_of_a_killed_worker_are_done_by_another_one(ledger, ann, tier, book, work):
    """Two of them are runs of the resolver that are not needed, because a third one is in the queue."""
    booking = book(ann, tier)
    ledger.mode("outage")
    cancel(booking, now=timezone.now())
    ledger.mode("approve")
    resolve_holds.defer(timestamp=1)
    die_at_work()
    resolve_holds.defer(timestamp=2)
    die_at_work()
    resolve_holds.defer(timestamp=3)
    rescue_jobs.defer(timestamp=0)
    work()
    booking.refresh_from_db()
    assert booking.payment_status == "REFUNDED"
    assert not ProcrastinateJob.objects.filter(status__in=["doing", "failed"]).exists()


def test_a_worker_finds_the_jobs_that_it_has_lost(ledger, ann, tier, book, work, monkeypatch):
    """Its connection broke when it fetched the job, or noted its end, and its heartbeat went on."""
    booking = book(ann, tier)
    ledger.mode("outage")
    cancel(booking, now=timezone.now())
    ledger.mode("approve")
    connection.cursor().execute("UPDATE procrastinate_jobs SET scheduled_at = 'infinity'")

    async def lose_the_refund(call_next, context, worker):
        if context.job.task_name.endswith("rescue_jobs"):
            await sync_to_async(lose_at_work)(worker.worker_id)
        return await rescuing.remember(call_next, context, worker)

    monkeypatch.setitem(app.worker_defaults, "worker_middleware", [lose_the_refund])
    rescue_jobs.defer(timestamp=0)
    work()
    booking.refresh_from_db()
    assert booking.payment_status == "REFUNDED"


@pytest.mark.parametrize(("at_work", "minutes"), [(True, 10), (False, 0)])
def test_a_job_that_is_at_work_is_left_alone(at_work, minutes, ann, tier, book, monkeypatch):
    booking = book(ann, tier)
    defer("refund_booking", booking)
    lose_at_work(worker := new_worker(), minutes=minutes)
    job = ProcrastinateJob.objects.get()
    monkeypatch.setattr(rescuing, "_workers", {worker})
    monkeypatch.setattr(rescuing, "_at_work", Counter([job.pk] if at_work else []))
    assert found() == []
    monkeypatch.setattr(rescuing, "_at_work", Counter())
    lose_at_work(worker, minutes=10)
    assert found() == [job.pk]


def found():
    async def find():
        async with app.open_async():
            return [job.id for job in await rescuing.broken_off(app)]

    with app.replace_connector(app.connector.get_worker_connector()):
        return asyncio.run(find())


def new_worker():
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        return cursor.fetchone()[0]


def lose_at_work(worker, minutes=10):
    """Leave what a worker leaves that lives, and lost its connection at the wrong moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s, scheduled_at = NULL"
            " WHERE task_name LIKE '%%refund_booking'",
            [worker],
        )
        cursor.execute(
            "UPDATE procrastinate_events SET at = now() - make_interval(mins => %s) WHERE type = 'started'",
            [minutes],
        )


def die_at_work():
    """Leave what a killed worker leaves: jobs with the status doing, and a heartbeat of an hour ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - interval '1 hour') RETURNING id"
        )
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE status = 'todo'",
            cursor.fetchone(),
        )


def test_holds_come_before_refunds(ledger, ann, tier, book):
    defer("refund_booking", book(ann, tier))
    resolve_holds.defer(timestamp=0)
    jobs = dict(ProcrastinateJob.objects.values_list("task_name", "priority"))
    assert jobs["bookings.tasks.resolve_holds"] > jobs["bookings.tasks.refund_booking"]


def test_holds_are_resolved_every_ten_seconds():
    tasks = app.periodic_registry.periodic_tasks.values()
    crons = {task.task.name: task.cron for task in tasks}
    assert crons["bookings.tasks.resolve_holds"] == EVERY_TEN_SECONDS
    assert "bookings.tasks.rescue_jobs" in crons


@pytest.mark.parametrize("ahead", [180, -180])
def test_jobs_that_come_again_go_by_the_databases_clock(monkeypatch, ahead):
    # Found by make chaos, seed 61000: a clock that was three minutes ahead, and was set right.
    right, deferred = time.time, []

    class OneTick(Exception):
        pass

    async def wait(deferrer, next_tick):
        assert 0 <= next_tick <= 1  # a mail may be due each second
        raise OneTick

    async def defer_jobs(deferrer, jobs_to_defer):
        deferred.extend(at for _, at in jobs_to_defer)

    async def tick():
        deferrer = periodic.PeriodicDeferrer
        monkeypatch.setattr(deferrer.func, "wait", wait)
        monkeypatch.setattr(deferrer.func, "defer_jobs", defer_jobs)
        connector = app.connector.get_worker_connector()
        with app.replace_connector(connector) as live:
            async with live.open_async():
                await deferrer(registry=live.periodic_registry).worker()

    monkeypatch.setattr(time, "time", lambda: right() + ahead)
    before = clock.ask().timestamp()
    with pytest.raises(OneTick):
        asyncio.run(tick())
    after = clock.ask().timestamp()
    assert int(before) <= max(deferred) <= after
