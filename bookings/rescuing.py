"""Jobs whose work broke off: their worker died, or lost its connection at the wrong moment.

A connection may break while a worker fetches a job or notes its end. The job then says `doing` and nobody is
at it. It keeps its lock, so no other job for that booking can run. procrastinate finds the jobs of workers
without a heartbeat, but this worker has one. So each worker remembers what it is at, and finds its lost jobs.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from procrastinate import App
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job
from procrastinate.worker import Worker

# Seconds between the end of a job's work and the moment when its end has surely been noted, or never will be.
TO_NOTE = 30

_at_work: Counter[int] = Counter()  # ids of jobs; twice while a retry follows quickly
_workers: set[int] = set()  # the ids of this process as a worker


def watch(app: App) -> None:
    """Let every worker of this process remember its jobs. The setting PROCRASTINATE_ON_APP_READY calls it."""
    app.worker_defaults["worker_middleware"] = [remember]


async def remember(
    call_next: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker
) -> Any:
    job = context.job.id
    assert job is not None
    assert worker.worker_id is not None
    _workers.add(worker.worker_id)
    _at_work[job] += 1
    try:
        return await call_next()
    finally:
        asyncio.get_running_loop().call_later(TO_NOTE, _forget, job)


def _forget(job: int) -> None:
    _at_work[job] -= 1
    if not _at_work[job]:
        del _at_work[job]


LOST = """
SELECT id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name, attempts,
    worker_id
FROM procrastinate_jobs job
WHERE status = 'doing' AND worker_id = ANY(%(workers)s) AND NOT id = ANY(%(at_work)s)
AND (SELECT max(at) FROM procrastinate_events WHERE job_id = job.id AND type = 'started')
    < now() - make_interval(secs => %(to_note)s)
"""


async def broken_off(app: App) -> list[Job]:
    """Jobs that say `doing`, of workers without a heartbeat and of this one, and nobody is at them."""
    jobs = list(await app.job_manager.get_stalled_jobs())
    rows = await app.connector.execute_query_all_async(
        LOST, workers=list(_workers), at_work=list(_at_work), to_note=TO_NOTE
    )
    return jobs + [Job.from_row(row) for row in rows]
