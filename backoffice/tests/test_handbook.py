"""docs/staff.md names what is there: each button, each need, and pictures that the test of a season takes."""

import re
from pathlib import Path

from django.conf import settings

from backoffice.needs import NEEDS
from backoffice.tests.pictures import FOLDER, LARGEST
from backoffice.verbs.every import EVERY

HANDBOOK = (Path(settings.BASE_DIR) / "docs" / "staff.md").read_text(encoding="utf-8")
SEASON = (Path(__file__).parent / "test_browser_season.py").read_text(encoding="utf-8")


def test_the_handbook_names_every_button_and_every_need():
    words = " ".join(HANDBOOK.split())
    missing = [verb.button for verb in EVERY if verb.button not in words]
    missing += [need.title for need in NEEDS if need.title not in words]
    assert not missing


def test_its_pictures_are_those_that_the_season_takes():
    shown = re.findall(r"\(pictures/([\w-]+)\.png\)", HANDBOOK)
    taken = re.findall(r'take\(page, "([\w-]+)"|take\(staff, "([\w-]+)"', SEASON)
    assert sorted(shown) == sorted("".join(names) for names in taken)
    assert sorted(shown) == sorted(file.stem for file in FOLDER.glob("*.png"))
    assert all(file.stat().st_size < LARGEST for file in FOLDER.iterdir())
    assert all(re.findall(r"!\[(.*)\]\(pictures/", HANDBOOK)), "a picture says what it shows"


def test_its_links_lead_to_its_headings():
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in HANDBOOK.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", HANDBOOK)) <= headings
