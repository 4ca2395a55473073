"""QR codes: a real decoder reads back what was written."""

from io import BytesIO
from uuid import uuid4
from xml.etree import ElementTree

import zxingcpp
from PIL import Image

from tickets import qr, tokens


def token():
    return tokens.sign(ticket=uuid4(), concert=uuid4(), tier_type="VIP", number=4)


def test_a_decoder_reads_the_png():
    text = token()
    (found,) = zxingcpp.read_barcodes(Image.open(BytesIO(qr.png(text))))
    assert found.text == text
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    assert found.ec_level == "M"


def test_a_decoder_reads_codes_of_many_tokens():
    for text in [token() for _ in range(30)]:
        (found,) = zxingcpp.read_barcodes(Image.open(BytesIO(qr.png(text, module=3))))
        assert found.text == text


def test_a_token_is_a_code_of_version_8_at_level_m():
    code = qr.code(token())
    assert (code.version, code.error, code.mode) == (8, "M", "byte")


def test_the_quiet_zone_of_the_png_is_white():
    picture = Image.open(BytesIO(qr.png(token(), module=1))).convert("L")
    width = 49 + 2 * 4
    assert picture.size == (width, width)
    frame = [picture.getpixel((x, y)) for x in range(width) for y in (0, 3, width - 4, width - 1)]
    assert set(frame) == {255}


def test_the_svg_stands_alone_with_a_white_ground_and_a_title():
    drawing = qr.svg(token(), 'Ticket <1> & "more"')
    root = ElementTree.fromstring(drawing)
    assert root.attrib["role"] == "img"
    assert root.find("title").text == 'Ticket <1> & "more"'
    assert "//" not in drawing  # no namespace is needed in HTML, and nothing is fetched
    ground, modules = root.findall("path")
    assert ground.attrib["fill"] == "#fff"
    assert ground.attrib["d"].startswith("M0 0h57v57h-57z")
    assert modules.attrib["stroke"] == "#000"


def test_a_code_is_the_same_each_time():
    text = token()
    assert qr.svg(text) == qr.svg(text)
    assert qr.png(text) == qr.png(text)
