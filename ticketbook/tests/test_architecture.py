"""The floors and the map of docs/architecture.md are true."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from django.conf import settings

ROOT = settings.BASE_DIR
MAP = ROOT / "docs" / "architecture.md"
FLOORS = {"ticketbook": 0, "accounts": 1, "concerts": 1, "bookings": 2, "demo": 3}
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
