"""The process of the payment page: the merchant's API, the customers' pages, and the webhooks."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from django.conf import settings

from demo.payment_page.api import MerchantApi
from demo.payment_page.ledger import Ledger
from demo.payment_page.pages import CustomerPages
from demo.payment_page.webhooks import Webhooks, draw_fate

CLOCK = 0.05  # seconds between two looks at the slow banks


async def serve(
    *,
    port: int,
    ledger_file: Path,
    webhook_url: str,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Serve until `stop` is set. Raises OSError if the port cannot be had."""
    ledger = Ledger(ledger_file, draw_fate)
    webhooks = Webhooks(ledger, webhook_url)
    app = web.Application()
    app.add_routes(MerchantApi(ledger, webhooks).routes())
    app.add_routes(CustomerPages(ledger, webhooks).routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        host = settings.BIND_ADDRESS.strip("[]") or None
        await web.TCPSite(runner, host, port, backlog=1024).start()
        ready()
        async with asyncio.TaskGroup() as group:
            work = [webhooks.run(), _run_slow_banks(ledger, webhooks)]
            tasks = [group.create_task(each) for each in work]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        await runner.cleanup()
        ledger.close()


async def _run_slow_banks(ledger: Ledger, webhooks: Webhooks) -> None:
    while True:
        if ledger.capture_slow_payments(now=time.time()):
            webhooks.wake()
        await asyncio.sleep(CLOCK)
