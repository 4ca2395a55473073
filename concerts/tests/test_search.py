"""What the search finds: in the API, on the page and in the back office."""

import subprocess
import unicodedata
from urllib.parse import quote_plus

import pytest
from django.db import connection
from django.urls import reverse

from accounts.models import User
from concerts.models import Concert
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from ticketbook.embedded.binaries import binary

pytestmark = pytest.mark.django_db

API = "/api/v1/concerts"


@pytest.fixture
def back_office(client):
    client.force_login(User.objects.create_superuser("staff@example.com", "correct horse"))
    return client


def nfd(text):
    return unicodedata.normalize("NFD", text)


def found(client, **query):
    asked = "&".join(f"{name}={quote_plus(text)}" for name, text in query.items())
    response = client.get(f"{API}?{asked}")
    assert response.status_code == 200, response.content
    return [concert["name"] for concert in response.json()]


SPELLINGS = [
    ("Solène", "solene"),
    (nfd("Solène"), "solene"),
    ("Solène", nfd("SOLÈNE")),
    (nfd("Solène"), "solène"),
    ("Solene", "solène"),
    ("Mötörhead", "MOTORHEAD"),
    ("Røykstein", "roykstein"),
    ("Roykstein", "røyk"),
    ("Łódź Æther", "lodz aether"),
    ("Große Straße", "grosse strasse"),
    ("GROSSE STRASSE", "große straße"),
    ("GROẞE STRAẞE", "große"),
    ("Grosse", "ß"),
    ("ＴＯＫＹＯ ＪＡＺＺ", "tokyo jazz"),
    ("Tokyo Jazz", "ｔｏｋｙｏ　ｊａｚｚ"),
    ("DİYARBAKIR IŞIK", "diyarbakir isik"),
    ("Diyarbakır Işık", "DIYARBAKIR ISIK"),
    ("ΟΔΟΣ", "οδός"),
    ("Ёлка", "елка"),
    ("ﬁnale", "FINALE"),
    ("Don’t Stop", "don't"),
    ("東京の夜", "京の"),
    ("שלום עולם", "עולם"),
    ("x\u0302y", "xy"),  # no single letter of Unicode is this one
]


@pytest.mark.parametrize(("written", "asked"), SPELLINGS)
@pytest.mark.parametrize("field", ["name", "artist", "venue"])
def test_accents_case_and_letters_of_other_widths_do_not_matter(client, field, written, asked):
    concert = ConcertFactory(**{field: written})
    ConcertFactory(name="Another", artist="Others", venue="Zoo")
    assert found(client, q=asked) == [concert.name]
    if field != "name":
        assert found(client, **{field: asked}) == [concert.name]


WORDS = [
    ("midnight blue pear", True),
    ("pear midnight BLUE", True),
    ("  blue\t\u00a0pear\u3000", True),
    ("blue blue blue", True),
    ("night lue", True),
    ("midnight blue plum", False),
    ("juicewhite", False),  # the end of the name and the beginning of the artist
]


@pytest.mark.parametrize(("asked", "finds"), WORDS)
def test_every_word_is_found_somewhere_in_name_artist_or_venue(client, asked, finds):
    ConcertFactory(name="Blue Juice", artist="White Midnight", venue="The Pear")
    ConcertFactory(name="Blue Monday", artist="Midnight Oil", venue="The Apple")
    assert ("Blue Juice" in found(client, q=asked)) is finds
    assert "Blue Monday" not in found(client, q=f"{asked} pear")


def test_artist_and_venue_are_searched_for_the_text_as_it_stands(client):
    ConcertFactory(name="1", artist="Les Étoiles", venue="Café Zürich")
    assert found(client, artist="les etoiles") == ["1"]
    assert found(client, artist="etoiles les") == []
    assert found(client, artist="cafe") == []
    assert found(client, venue="ÉTOILES") == []
    assert found(client, venue="cafe zurich", artist="toile", q="les cafe") == ["1"]


@pytest.mark.parametrize("character", ["%", "_", "\\", "％", "'", '"', "*", "(", "[", "$", "&"])
def test_a_character_with_a_meaning_elsewhere_is_an_ordinary_one(client, character):
    ConcertFactory(name=f"100{character} Pop", artist="With", venue=f"Hall{character}")
    ConcertFactory(name="1000 Pop", artist="Without", venue="Hallo")
    only = [f"100{character} Pop"]
    assert found(client, q=character) == only
    assert found(client, q=f"100{character}") == only
    assert found(client, q=f"0{character} l{character}") == only
    assert found(client, venue=f"l{character}") == only
    assert found(client, artist=character) == []


HARMLESS = [
    ("x" * 100_000, False),
    ("blue " * 2_000, True),
    (" ".join(f"{n}" for n in range(2_000)), False),
    (". , ; : - … ‘ ’ “ ” ´ ` ^", False),
    ("\\", False),
    ("\u0301", True),  # an accent alone is nothing to look for
    ("\u200b", False),
    ("\ufffd", False),
    ("\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), False),
    ("   ", True),
]


@pytest.mark.parametrize(("text", "finds"), HARMLESS)
@pytest.mark.parametrize("field", ["q", "artist", "venue"])
def test_odd_texts_are_harmless_in_every_field(client, field, text, finds):
    ConcertFactory(name="blue", artist="blue", venue="blue")
    if field != "q" and text.startswith("blue "):
        finds = False
    assert found(client, **{field: text}) == ["blue"] * finds
    assert client.get("/concerts/", {field: text}).status_code == 200


@pytest.mark.parametrize("field", ["q", "artist", "venue"])
def test_a_nul_is_refused_with_the_name_of_its_field(client, field):
    response = client.get(API, {field: "blue\0"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field
    assert client.get("/concerts/", {field: "blue\0"}).status_code == 400


def test_the_search_box_of_the_page_finds_the_same(client):
    ConcertFactory(name="Solène au Café", artist="Midnight", venue="Pear")
    ConcertFactory(name="Another")
    html = client.get("/concerts/", {"q": "pear CAFE solene"}).content.decode()
    assert "Solène au Café" in html
    assert "Another" not in html


def test_staff_find_concerts_tiers_and_choices_in_the_same_way(back_office):
    tier = TicketTierFactory(
        concert__name="Solène", concert__artist="Midnight", concert__venue="Pear"
    )
    TicketTierFactory(concert__name="Another")
    for model in ("concert", "tickettier"):
        address = reverse(f"admin:concerts_{model}_changelist")
        for asked, count in [("pear solene", 1), ("solene plum", 0), ("%", 0), ("\0", 0), ("", 2)]:
            changes = back_office.get(address, {"q": asked}).context["cl"]
            assert changes.result_count == count, (model, asked)
    choices = back_office.get(
        reverse("admin:autocomplete"),
        {
            "app_label": "concerts",
            "model_name": "tickettier",
            "field_name": "concert",
            "term": "SOLENE",
        },
    ).json()["results"]
    assert [choice["id"] for choice in choices] == [str(tier.concert_id)]


def test_a_change_by_staff_is_found_at_once(client):
    concert = ConcertFactory(name="Before")
    Concert.objects.filter(pk=concert.pk).update(name="Après")
    assert found(client, q="apres") == ["Après"]
    assert found(client, q="before") == []


SEARCH = """
SELECT name, (SELECT indisvalid FROM pg_index WHERE indexrelid = 'concert_search_text'::regclass)
FROM concerts_concert WHERE search_text LIKE '%' || concerts_folded('SOLENE') || '%'
"""


@pytest.mark.django_db(transaction=True)
def test_a_dump_of_the_database_can_be_restored_and_searched():
    ConcertFactory(name="Solène")
    connection.ensure_connection()
    params = connection.get_connection_params()
    server = [
        f"--host={params['host']}",
        f"--port={params['port']}",
        f"--username={params['user']}",
    ]
    options = {"env": {"PGPASSWORD": params["password"]}, "capture_output": True, "check": True}
    restored = f"{params['dbname']}_restored"

    def run(program, *args, **more):
        return subprocess.run([binary(program), *server, *args], **options, **more).stdout

    dump = run("pg_dump", params["dbname"])
    _as_superuser(f"DROP DATABASE IF EXISTS {restored}")
    _as_superuser(f"CREATE DATABASE {restored} OWNER {params['user']}")
    try:
        run("psql", "--set=ON_ERROR_STOP=1", "--quiet", restored, input=dump)
        found = run("psql", "-At", f"--command={SEARCH}", restored).decode()
    finally:
        _as_superuser(f"DROP DATABASE {restored}")
    assert found == "Solène|t\n"


def _as_superuser(statement):
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def test_the_owner_of_a_database_may_create_what_the_search_needs():
    """The role needs no more rights on the server, because both extensions are trusted."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT bool_and(trusted), count(*) FROM pg_extension JOIN pg_available_extension_versions"
            " ON name = extname AND version = extversion WHERE extname IN ('unaccent', 'pg_trgm')"
        )
        assert cursor.fetchone() == (True, 2)
