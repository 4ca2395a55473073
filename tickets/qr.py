"""QR codes: black on white whatever the page's colours are, with the quiet zone that scanners need."""

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from django.utils.safestring import SafeString, mark_safe

if TYPE_CHECKING:
    import segno

QUIET_ZONE = 4  # modules, as ISO/IEC 18004 asks for
COLOURS = {"dark": "#000", "light": "#fff"}


# To find the mask that is easiest to scan takes most of the time. Scanners read all eight, and a signature
# looks like chance under each of them.
MASK = 0


@lru_cache(maxsize=64)  # a mail shows the same code twice
def code(text: str) -> "segno.QRCode":
    """Error correction M: about 15 % of the code may be dirty. A token makes 49 × 49 modules (version 8)."""
    import segno  # only here, because the import takes a while, and every process loads the template tag

    return segno.make_qr(text, error="m", mask=MASK, boost_error=False)


def svg(text: str, title: str = "QR code") -> SafeString:
    """The code as SVG to put into HTML. It has no size of its own; the title is for screen readers."""
    out = BytesIO()
    code(text).save(
        out,
        kind="svg",
        xmldecl=False,
        svgns=False,
        nl=False,
        omitsize=True,
        border=QUIET_ZONE,
        title=title,
        svgclass="qr",
        lineclass=None,
        **COLOURS,
    )
    # Without crisp edges a scaled code shows hairlines between its rows.
    drawing = out.getvalue().decode()
    drawing = drawing.replace("<svg ", '<svg role="img" shape-rendering="crispEdges" ', 1)
    return mark_safe(drawing)  # segno escapes the title


def png(text: str, module: int = 8) -> bytes:
    """The code as PNG, `module` pixels for each module."""
    out = BytesIO()
    code(text).save(out, kind="png", scale=module, border=QUIET_ZONE, **COLOURS)
    return out.getvalue()
