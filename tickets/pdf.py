"""The tickets of a booking as a PDF: a page of A4 for each, good in black and white."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import as_file, files
from io import BytesIO
from itertools import groupby
from threading import Lock

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from bookings.models import Booking
from ticketbook.zones import in_words
from tickets import qr
from tickets.drawable import BOX, drawable, lines
from tickets.models import Ticket

REGULAR, BOLD = "OpenSans-Regular", "OpenSans-Bold"
MARGIN = 20 * mm
WIDTH = A4[0] - 2 * MARGIN
CODE_WIDTH = 62 * mm  # of the QR code without its quiet zone
TEXT_WIDTH = WIDTH - CODE_WIDTH - 10 * mm
LEADING = 1.3
ONCE = (
    "This ticket admits one person, once. A copy admits nobody a second time: whoever comes first with this "
    "code is let in. So give it only to the person who is to come."
)
LACKING = f"{BOX} stands for a character that this page cannot print."
# A font that is registered anew in the middle of a document would lose the characters that it has there.
_registering = Lock()


def tickets_pdf(booking: Booking, tickets: Iterable[Ticket]) -> bytes:
    """A page for each valid one of these tickets. The same rows make the same bytes.

    Raises ValueError if none of them is valid.
    """
    valid = [ticket for ticket in tickets if ticket.is_valid]
    if not valid:
        raise ValueError("There is no valid ticket to print.")
    out = BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=1, pageCompression=1, lang="en")
    concert = booking.ticket_tier.concert
    canvas.setTitle(_text(f"Tickets for {concert.name}"))
    canvas.setAuthor("TicketBook")
    canvas.setSubject(f"Booking {booking.number}")
    canvas.setCreator("TicketBook")
    canvas.setViewerPreference("DisplayDocTitle", "true")
    for ticket in valid:
        Page(canvas, booking, ticket).draw()
        canvas.showPage()
    canvas.save()
    return out.getvalue()


@cache
def _glyphs() -> frozenset[int]:
    """The characters that both fonts have."""
    with _registering:
        for name in {REGULAR, BOLD} - set(pdfmetrics.getRegisteredFontNames()):
            pdfmetrics.registerFont(_font(name))
    faces = [pdfmetrics.getFont(name).face for name in (REGULAR, BOLD)]
    return frozenset(set.intersection(*(set(face.charToGlyph) for face in faces)))


def _font(name: str) -> TTFont:
    with as_file(files("ttf_opensans") / "ttf" / f"{name}.ttf") as file:
        font = TTFont(name, str(file))
    # The sign that the font draws for what it lacks. It is a box, and readers of the text learn so.
    font.face.charToGlyph[ord(BOX)] = 0
    font.face.charWidths[ord(BOX)] = font.face.defaultWidth
    return font


def _text(text: str) -> str:
    return drawable(text, _glyphs())


def _runs(modules: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where dark modules begin in a row, and how many there are."""
    start = 0
    for dark, run in groupby(modules):
        length = len(list(run))
        if dark:
            yield start, length
        start += length


class Page:
    def __init__(self, canvas: Canvas, booking: Booking, ticket: Ticket) -> None:
        self.canvas, self.booking, self.ticket = canvas, booking, ticket
        self.y = A4[1] - MARGIN  # where the next line ends above
        self.lacks = False

    def draw(self) -> None:
        self._head()
        top = self.y
        self._facts()
        below_facts = self.y
        self._code(top)
        self.y = min(self.y, below_facts) - 6 * mm
        self._rule(0.5)
        self._write(ONCE, 10)
        self.y -= 2 * mm
        self._write(f"Booking {self.booking.number}", 10)
        if self.lacks:
            self._write(LACKING, 8)

    def _head(self) -> None:
        concert = self.booking.ticket_tier.concert
        number = f"Ticket {self.ticket.number} of {self.booking.quantity}"
        self._write(number, 11)
        self.y -= 2 * mm
        self._write_large(concert.name, BOLD, (28, 22, 17, 13))
        self._write_large(concert.artist, REGULAR, (17, 13))
        self.y -= 3 * mm
        self._rule(2)

    def _facts(self) -> None:
        tier = self.booking.ticket_tier
        concert = tier.concert
        self._fact("When", in_words(concert.date, concert.time_zone))
        self._fact("Where", concert.venue)
        self._fact("Ticket", tier.get_tier_type_display())
        if self.ticket.holder_name:
            self._fact("Name", self.ticket.holder_name)

    def _fact(self, label: str, value: str) -> None:
        self._write(label, 9, width=TEXT_WIDTH)
        self._write(value, 13, BOLD, width=TEXT_WIDTH)
        self.y -= 4 * mm

    def _code(self, top: float) -> None:
        left = A4[0] - MARGIN - CODE_WIDTH
        matrix = qr.code(self.ticket.token).matrix
        module = CODE_WIDTH / len(matrix)
        self.canvas.saveState()
        self.canvas.transform(module, 0, 0, -module, left, top)
        path = self.canvas.beginPath()
        for row, modules in enumerate(matrix):
            for start, length in _runs(modules):
                path.rect(start, row, length, 1)
        self.canvas.drawPath(path, stroke=0, fill=1)
        self.canvas.restoreState()
        # The quiet zone of four modules lies between the code and what is below it.
        self.y = top - CODE_WIDTH - 4 * module
        self._write(self.ticket.code, 14, BOLD, left=left, width=CODE_WIDTH)

    def _write_large(self, text: str, font: str, sizes: tuple[int, ...]) -> None:
        """In the largest of these sizes that needs two lines; in the smallest if none does."""
        size = next((size for size in sizes if len(self._lines(text, font, size)) <= 2), sizes[-1])
        self._write(text, size, font)

    def _lines(self, text: str, font: str, size: float, width: float = WIDTH) -> list[str]:
        def fits(line: str) -> bool:
            return bool(pdfmetrics.stringWidth(line, font, size) <= width)

        return list(lines(_text(text), fits))

    def _write(
        self,
        text: str,
        size: float,
        font: str = REGULAR,
        *,
        left: float = MARGIN,
        width: float = WIDTH,
    ) -> None:
        self.canvas.setFont(font, size)
        for line in self._lines(text, font, size, width):
            self.lacks |= BOX in line
            self.canvas.drawString(left, self.y - size, line)
            self.y -= size * LEADING

    def _rule(self, thickness: float) -> None:
        self.canvas.setLineWidth(thickness)
        self.canvas.line(MARGIN, self.y, A4[0] - MARGIN, self.y)
        self.y -= 6 * mm
