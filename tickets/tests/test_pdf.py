"""Tickets on paper, read back by other programs: poppler renders them, zxing-cpp reads the codes."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import zxingcpp
from PIL import Image
from reportlab.pdfbase import pdfmetrics

from tickets import pdf
from tickets.drawable import BOX
from tickets.pdf import tickets_pdf
from tickets.tests.paper import booking_of, tickets_of

needs_poppler = pytest.mark.skipif(
    shutil.which("pdftoppm") is None, reason="no poppler-utils on this machine"
)
WIDTH, HEIGHT = 595.3, 841.9  # A4 in points


def pages(data):
    return len(re.findall(rb"/Type /Page\b", data))


@pytest.fixture
def poppler(tmp_path):
    """Run a program of poppler's on a PDF; returns what it prints."""

    def run(program, data, *arguments):
        (tmp_path / "tickets.pdf").write_bytes(data)
        output = {"pdftoppm": ["page"], "pdftotext": ["-"], "pdfinfo": []}[program]
        done = subprocess.run(
            [program, *arguments, "tickets.pdf", *output],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == b""
        return done.stdout.decode()

    return run


def test_each_valid_ticket_has_a_page():
    booking = booking_of(4)
    tickets = tickets_of(booking, "", "", "", "")
    assert pages(tickets_pdf(booking, tickets)) == 4
    tickets[1].is_valid = tickets[3].is_valid = False
    assert pages(tickets_pdf(booking, tickets)) == 2


def test_nothing_is_printed_of_void_tickets():
    booking = booking_of(1)
    (ticket,) = tickets_of(booking, "")
    ticket.is_valid = False
    with pytest.raises(ValueError, match="no valid ticket"):
        tickets_pdf(booking, [ticket])


def test_the_same_tickets_make_the_same_file_also_in_many_threads():
    booking = booking_of(2, name="Ночь")
    tickets = tickets_of(booking, "Ann", "Олег")
    pdf._glyphs.cache_clear()  # as in a new process
    for name in (pdf.REGULAR, pdf.BOLD):
        pdfmetrics._fonts.pop(name, None)
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: tickets_pdf(booking, tickets), range(12)))
    assert len(set(made)) == 1


@needs_poppler
def test_a_decoder_reads_the_code_of_each_page(poppler, tmp_path):
    booking = booking_of(4, tier_type="VIP")
    tickets = tickets_of(booking, "Ann", "", "W" * 150, "Олег")
    poppler("pdftoppm", tickets_pdf(booking, tickets), "-r", "100", "-mono")
    for ticket, file in zip(tickets, sorted(tmp_path.glob("page*")), strict=True):
        (found,) = zxingcpp.read_barcodes(Image.open(file).convert("L"))
        assert found.text == ticket.token
        assert found.ec_level == "M"


@needs_poppler
def test_a_page_says_what_the_door_and_the_customer_need(poppler):
    booking = booking_of(
        4, name="Ночь", artist="Ἀλέξανδρος", venue="Ηρώδειο", time_zone="Europe/Athens"
    )
    text = poppler("pdftotext", tickets_pdf(booking, tickets_of(booking, "Олег Їжак")), "-raw")
    for part in (
        "Ticket 1 of 4", "Ночь", "Αλέξανδρος", "Ηρώδειο", "Thu 10 Dec 2026, 20:30 (Athens time)",
        "General admission", "Олег Їжак", "7QX4-9MRT-2K8", booking.number, "admits one person, once",
    ):  # fmt: skip
        assert part in text
    assert BOX not in text


@needs_poppler
def test_the_file_has_a_title_and_a_language(poppler):
    booking = booking_of(name="Ночь (живой) музыки")
    data = tickets_pdf(booking, tickets_of(booking, ""))
    told = poppler("pdfinfo", data)
    assert re.search(r"Title: +Tickets for Ночь \(живой\) музыки\n", told)
    assert re.search(r"Page size: .*\(A4\)", told)
    assert b"/Lang (en)" in data


@needs_poppler
def test_what_the_font_lacks_is_a_box_and_the_page_says_so(poppler, tmp_path):
    booking = booking_of(name="🎸 Rock", artist="محمد", venue="東京")
    data = tickets_pdf(booking, tickets_of(booking, "שרה Cohen"))
    text = poppler("pdftotext", data, "-raw")
    for part in (f"{BOX} Rock", BOX * 4, BOX * 2, f"{BOX * 3} Cohen", f"{BOX} stands for"):
        assert part in text
    poppler("pdftoppm", data, "-r", "72", "-gray", "-x", "56", "-y", "75", "-W", "26", "-H", "36")
    assert Image.open(next(tmp_path.glob("page*"))).getextrema()[0] < 128  # the box is to be seen


@needs_poppler
@pytest.mark.parametrize("letter", ["W", "W ", "Ж", "🎸", "i"])
def test_the_longest_names_stay_on_the_page_and_off_the_code(poppler, letter):
    def long(length):
        return (letter * length)[:length]

    booking = booking_of(name=long(200), artist=long(200), venue=long(200))
    tickets = tickets_of(booking, long(150))
    data = tickets_pdf(booking, tickets)
    assert pages(data) == 1
    boxes = re.findall(r'xMin="(.+?)" yMin="(.+?)" xMax="(.+?)" yMax="(.+?)">(.*?)<',
                       poppler("pdftotext", data, "-bbox"))  # fmt: skip
    places = [tuple(map(float, box[:4])) for box in boxes]
    assert min(place[0] for place in places) > 50
    assert min(place[1] for place in places) > 50
    assert max(place[2] for place in places) < WIDTH - 50
    assert max(place[3] for place in places) < HEIGHT - 50
    code = next(place for place, box in zip(places, boxes, strict=True) if "7QX4" in box[4])
    top = code[1] - 200  # the code is as high as 62 mm, which are 176 points
    beside = [place for place in places if top + 30 < place[1] < code[1] - 15]
    assert beside
    assert max(place[2] for place in beside) < code[0] - 10


HOSTILE = [
    "\0\x01\x1b[31m",
    "<b>bold</b><script>alert(1)</script>",
    ") Tj ET Q endstream endobj (",
    "\\(\\)\\",
    "{{ name }} %s %(x)s",
    "\ud800\udfff",
    "\uffff\ufffe\ufffd",
    "👩‍👩‍👧‍👦" * 30,
    "Z" + "\u0300" * 149,
    "\u202e\u2066evil\u2069",
    "\u200b",
    " ",
    "\U0010ffff" * 150,
]


@needs_poppler
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_breaks_a_page(poppler, text):
    booking = booking_of(name=text, artist=text, venue=text)
    data = tickets_pdf(booking, tickets_of(booking, text))
    told = poppler("pdftotext", data, "-raw")
    assert "7QX4-9MRT-2K8" in told
    assert "admits one person, once" in told
