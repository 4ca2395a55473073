"""Tokens and QR codes in a real Chromium: WebCrypto verifies them, and a decoder reads the screen."""

from io import BytesIO

import zxingcpp
from PIL import Image

from ticketbook.tests.browser import browser_test
from tickets import qr
from tickets.tests.vectors import VECTORS, VERIFY

pytestmark = browser_test

JUDGE = f"""
async ({{keys, tokens}}) => {{
    {VERIFY}
    return Promise.all(tokens.map((token) => verify(token, keys).catch((error) => error.message)));
}}
"""


def test_web_crypto_says_of_each_vector_what_the_document_says(visit):
    page = visit("/")
    valid, invalid = VECTORS["valid"], VECTORS["invalid"]
    tokens = [vector["token"] for vector in [*valid, *invalid]]
    told = page.evaluate(JUDGE, {"keys": VECTORS["keys"], "tokens": tokens})
    expected = [{key: value for key, value in vector.items() if key != "token"} for vector in valid]
    assert told == [*expected, *(vector["reason"] for vector in invalid)]


def test_a_decoder_reads_the_code_from_a_phone_in_dark_mode(visit):
    token = VECTORS["valid"][0]["token"]
    page = visit("/", color_scheme="dark", device_scale_factor=1)
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    page.evaluate("(code) => { document.querySelector('main').innerHTML = code }", qr.svg(token))
    assert page.get_by_role("img", name="QR code").count() == 1
    picture = Image.open(BytesIO(page.screenshot()))
    (found,) = zxingcpp.read_barcodes(picture)
    assert found.text == token
    # The quiet zone is white, though the page is dark.
    box = page.locator("svg.qr").bounding_box()
    inside = picture.convert("RGB").getpixel((int(box["x"]) + 8, int(box["y"]) + 8))
    outside = picture.convert("L").getpixel((int(box["x"]) - 6, int(box["y"]) + 8))
    assert inside == (255, 255, 255)
    assert outside < 80
