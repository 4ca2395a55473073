# Everything happens in .venv, which the first target that needs it makes. You need only python3 and make.
# Commands call .venv/bin/python itself, because the scripts beside it break in a path with spaces.

PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
BOOKINGS ?= 2000000
PAYMENTS ?= 10000
REQUESTS ?= 6000
SEED ?= 10
LOCK = .venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser pictures check bench bench-tuning bench-copies bench-redirects bench-guests \
	bench-pooler bench-signups bench-fulfilment bench-desk bench-waiting bench-soak soak-payments soak-mail \
	fuzz chaos chaos-patches chaos-drills cluster cluster-break failover-test failover-quick cluster-backup restore \
	restore-test adopt-restored format lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

demo: .venv/.run-installed ## start TicketBook with demo data (make demo PORT=8001)
	@.venv/bin/python manage.py demo

test: .venv/.dev-installed ## run the tests (make test ARGS="-k race")
	.venv/bin/python -m pytest $(ARGS)

test-browser: .venv/.dev-installed ## run the tests that drive a real Chromium
	.venv/bin/python -m pytest -m browser $(ARGS)

pictures: .venv/.dev-installed ## take the pictures of docs/staff.md anew, in a real Chromium
	PICTURES=1 .venv/bin/python -m pytest -m browser backoffice/tests/test_browser_season.py

check: .venv/.dev-installed ## lint, types, migrations, and the settings of a production site
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy .
	.venv/bin/python manage.py makemigrations --check --dry-run
	DEBUG=off HTTPS=on SECRET_KEY="$$(.venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
		.venv/bin/python manage.py check --deploy --fail-level WARNING

bench: .venv/.run-installed ## measure, a quarter of an hour (make bench QUICK=1: two minutes); needs wrk
	.venv/bin/python -m bench

bench-tuning: .venv/.run-installed ## measure other settings of the web server, eight minutes; needs wrk
	.venv/bin/python -m bench.tuning

bench-copies: .venv/.dev-installed ## measure what a cache server brings, four minutes; needs wrk
	.venv/bin/python -m bench.copies

bench-redirects: .venv/.run-installed ## measure payments on a page of the gateway's, two minutes; needs wrk
	.venv/bin/python -m bench.redirects

bench-fulfilment: .venv/.run-installed ## measure what tickets and mails cost a sale, three minutes; needs wrk
	.venv/bin/python -m bench.fulfilment

bench-guests: .venv/.run-installed ## compare bookings of guests with those of customers, a minute; needs wrk
	.venv/bin/python -m bench.guests

bench-waiting: .venv/.run-installed ## measure what 10,000 open pages cost a sale, three minutes (PAGES=1000); needs wrk
	.venv/bin/python -m bench.waiting

bench-pooler: .venv/.run-installed ## compare bookings through PgBouncer with direct ones, and race 10,000, two minutes; needs wrk, pgbouncer
	.venv/bin/python -m bench.pooler

bench-signups: .venv/.run-installed ## measure pages while many people sign up, half a minute
	.venv/bin/python -m bench.signups

bench-desk: .venv/.run-installed ## measure the back office with a million bookings, four minutes
	.venv/bin/python -m bench.desk

bench-soak: .venv/.run-installed ## two million bookings in one sitting (make bench-soak BOOKINGS=100000); needs wrk
	BOOKINGS=$(BOOKINGS) .venv/bin/python -m bench.soak

soak-payments: .venv/.run-installed ## let 10,000 customers pay at the payment page, and check every cent (PAYMENTS=1000)
	PAYMENTS=$(PAYMENTS) .venv/bin/python -m bench.payments

soak-mail: .venv/.dev-installed ## kill the worker while a bad mail server takes 1,000 mails, ten minutes (EVENTS=100)
	.venv/bin/python -m bench.mails

fuzz: .venv/.dev-installed ## knock at every door with hostile values, ten minutes (make fuzz REQUESTS=500 SEED=3)
	.venv/bin/python -m fuzz $(REQUESTS) $(SEED)

chaos: .venv/.dev-installed ## let clients book while faults strike, and judge what happened (QUICK=1 SEED=7 ROUNDS=10)
	.venv/bin/python -m chaos

chaos-patches: .venv/.dev-installed ## break TicketBook on purpose, and see the referee catch it (QUICK=1 ONLY=no_lock)
	.venv/bin/python -m chaos.patches

chaos-drills: .venv/.dev-installed ## kill everything twenty times, fill the disk …, an hour (DRILLS=late_answers,killed_database,no_worker,called_off,full_disk,failpoints,cost)
	.venv/bin/python -m chaos.drills

cluster: .venv/.run-installed ## start TicketBook on three PostgreSQL members under Patroni (POOLER=on: through PgBouncer)
	@.venv/bin/python -m deploy

cluster-break: .venv/.run-installed ## break the running cluster (make cluster-break FAULT=primary_machine; FAULT=mend)
	@.venv/bin/python -m deploy.faults $(FAULT)

failover-test: .venv/.run-installed ## break a cluster in every way under load, half an hour (FAULTS="primary_machine*20 web", RATE=200)
	@.venv/bin/python -m deploy.failover

failover-quick: .venv/.run-installed ## two of these faults, under four minutes
	@QUICK=1 .venv/bin/python -m deploy.failover

cluster-backup: .venv/.run-installed ## back up the running cluster (make cluster-backup FULL=1: not incrementally)
	@.venv/bin/python -m deploy.backups

restore: .venv/.run-installed ## restore the cluster's database as it was at a second, beside it (AT='2026-11-26 19:30:05+00:00' INTO=folder)
	@.venv/bin/python -m deploy.restoring

adopt-restored: .venv/.run-installed ## let the stopped cluster go on with what was restored
	@.venv/bin/python -m deploy.adopting

restore-test: .venv/.run-installed ## back up, sell on, and restore to a named second; three minutes
	@.venv/bin/python -m deploy.restore_test

format: .venv/.dev-installed ## mend what the linter can mend, and format
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

lock: .venv/.dev-installed ## pin and hash the requirements (make lock ARGS=--upgrade)
	$(LOCK) $(ARGS) requirements.in -o requirements.txt
	$(LOCK) $(ARGS) requirements-stripe.in -c requirements.txt -o requirements-stripe.txt
	$(LOCK) $(ARGS) deploy/requirements.in -o deploy/requirements.txt
	$(LOCK) $(ARGS) requirements-dev.in -c requirements.txt -c requirements-stripe.txt -o requirements-dev.txt

clean: ## remove what was installed and cached; the data in .data stays
	rm -rf .static .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("TicketBook needs Python 3.11 or newer; this is %d.%d. Name another one: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The stamps come last, so an installation that was interrupted is done again.
.venv/.run-installed: requirements.txt | .venv/bin/python
	@echo "Installing what TicketBook runs on…"
	@$(PIP) -r requirements.txt
	@touch $@

.venv/.dev-installed: requirements-dev.txt | .venv/bin/python
	@echo "Installing what it takes to test and check TicketBook…"
	@$(PIP) -r requirements-dev.txt
	@touch $@
