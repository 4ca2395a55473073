"""The pictures of docs/staff.md, which the browser test of a season takes on its way (make pictures)."""

import io
import os
from pathlib import Path

from django.conf import settings
from PIL import Image

FOLDER = Path(settings.BASE_DIR) / "docs" / "pictures"
MADE = bool(os.environ.get("PICTURES"))
COLOURS = 128  # so that a picture is small
LARGEST = 80_000  # bytes
HIGHEST = 1500  # CSS pixels


def take(page, name, *, upto="#content"):
    """Take a picture of a page from its top to the end of what `upto` selects."""
    if not MADE:
        return
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    window = page.viewport_size
    end = page.locator(upto).evaluate("element => element.getBoundingClientRect().bottom")
    # The window is made so high, because what is outside of it may not be drawn.
    page.set_viewport_size(window | {"height": round(min(end + 16, HIGHEST))})
    shot = page.screenshot(animations="disabled")
    page.set_viewport_size(window)
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.png"
    drawn = Image.open(io.BytesIO(shot)).convert("RGB")
    drawn.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    assert file.stat().st_size < LARGEST, f"{name} is {file.stat().st_size} bytes"
