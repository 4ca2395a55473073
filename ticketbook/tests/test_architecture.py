"""The floors and the map of docs/architecture.md are true."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from django.conf import settings

ROOT = settings.BASE_DIR
MAP = ROOT / "docs" / "architecture.md"
FLOORS = {
    "ticketbook": 0,
    "mail": 1,
    "concerts": 1,
    "accounts": 2,
    "bookings": 3,
    "tickets": 4,
    "backoffice": 5,
    "demo": 6,
}
PUT_THE_PARTS_TOGETHER = {"ticketbook.urls", "ticketbook.asgi"}


@cache
def modules():
    """The project's own modules without tests and migrations, by dotted name."""
    files = [file for floor in FLOORS for file in (ROOT / floor).rglob("*.py")]
    own = [file for file in files if not {"tests", "migrations"} & set(file.parts)]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in own}


def imports_of(file: Path):
    """The project's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name in modules())


def floor_of(module):
    return FLOORS[module.partition(".")[0]]


def may_import(module, other):
    same_app = module.partition(".")[0] == other.partition(".")[0]
    return same_app or module in PUT_THE_PARTS_TOGETHER or floor_of(module) > floor_of(other)


def test_no_floor_imports_a_higher_one_or_its_neighbour():
    wrong = [
        f"{module} imports {other}"
        for module, file in modules().items()
        for other in imports_of(file)
        if not may_import(module, other)
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: set(imports_of(file)) for module, file in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        raise AssertionError(" → ".join(circle.args[1])) from None


# These may read the clock of this machine. All others take their times from ticketbook/postgres/clock.py,
# because what is stored or compared with stored times has one clock, the database's.
MAY_READ_THE_CLOCK_OF_THIS_MACHINE = {
    "ticketbook.health",  # it tells the time of this machine, also without a database
    "ticketbook.shown",  # when a page was made, beside the times of Django's own history
    "ticketbook.copies.store",  # the age of copies; if clocks differ, processes share none
    "bookings.gateways.hosted",  # the age of a signature that the gateway has made
    "demo.payment_page.api",  # a process of its own, with no database
    "demo.payment_page.pages",
    "demo.payment_page.server",
    "demo.payment_page.webhooks",
}
CLOCKS = {
    *("timezone.now", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("time.time", "time.time_ns", "time.gmtime", "time.localtime", "timezone.localdate"),
}


def clocks_of(file: Path):
    """Where a file reads the clock of this machine."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = getattr(node.value, "id", None) or getattr(node.value, "attr", None)
            found = f"{owner}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            last = str(node.module).rpartition(".")[2]
            found = next(
                (f"{last}.{a.name}" for a in node.names if f"{last}.{a.name}" in CLOCKS), ""
            )
        elif isinstance(node, ast.keyword) and node.arg in {"auto_now", "auto_now_add"}:
            yield node.arg
            continue
        else:
            continue
        if found in CLOCKS:
            yield found


def test_no_module_reads_the_clock_of_this_machine_but_those_that_say_why():
    reading = {module for module, file in modules().items() if any(clocks_of(file))}
    assert reading == MAY_READ_THE_CLOCK_OF_THIS_MACHINE


def test_templates_of_the_catalogue_know_no_bookings():
    for template in (ROOT / "templates" / "concerts").iterdir():
        assert "booking" not in template.read_text(), template.name


def mapped_files():
    """What the tables of the map name, as paths from the root."""
    text = MAP.read_text().partition("## The map")[2].partition("\n## ")[0]
    for section in text.split("\n### ")[1:]:
        app, room = section.partition(":")[0].strip(), ""
        prefix = f"{app}/" if app in FLOORS else ""
        for row in re.findall(r"^\| .*", section, re.MULTILINE):
            first, second = row.split("|")[1:3]
            if names := re.findall(r"`([\w/.]+\.(?:py|html))`", first):
                yield from (prefix + name for name in names)
            elif row.count("|") == 5:
                room = (re.findall(r"`(\w+/)`", first) or [room])[0]
                yield from (prefix + room + name for name in re.findall(r"`(\w+\.py)`", second))


def test_the_map_names_every_file_and_no_other():
    mapped = list(mapped_files())
    files = [file for file in modules().values() if file.name != "__init__.py"]
    files += [ROOT / name for name in ("manage.py", "gunicorn.conf.py", "conftest.py")]
    assert sorted(mapped) == sorted(str(file.relative_to(ROOT)) for file in files)
