"""The concerts of the demo. They are invented."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from ticketbook.zones import local, moments


@dataclass(frozen=True, kw_only=True)
class Show:
    """A concert `days` from now. Numbers of tickets are for VIP, front row and general admission."""

    name: str
    artist: str
    venue: str
    zone: str  # the venue's
    days: int
    begins: str  # by the clock of the venue
    capacity: tuple[int, int, int]
    left: tuple[int, int, int]  # the others are sold
    sales_open_in_days: int | None = None
    description: str

    def date(self, now: datetime) -> datetime:
        day = local(now, self.zone) + timedelta(days=self.days)
        return moments(datetime.combine(day, time.fromisoformat(self.begins)), self.zone)[0]

    def sales_open_at(self, now: datetime) -> datetime | None:
        if self.sales_open_in_days is None:
            return None
        return now + timedelta(days=self.sales_open_in_days)


SHOWS = [
    Show(
        name="Northern Lights",
        artist="Aurora Kvist",
        venue="Harbour Hall, Bergsund",
        zone="Europe/Oslo",
        days=9,
        begins="19:30",
        capacity=(40, 120, 1200),
        left=(0, 0, 0),  # sold out
        description="Songs for the longest night of the year, with a choir of forty and no stage "
        "lights at all. The last evening of a tour that sold out in eleven minutes.",
    ),
    Show(
        name="Paper Boats",
        artist="The Halfway Saints",
        venue="Old Tram Depot, Lowfield",
        zone="Europe/London",
        days=12,
        begins="20:00",
        capacity=(20, 100, 1000),
        left=(1, 3, 7),  # nearly sold out
        description="Five friends, one accordion and the loudest quiet songs you know. "
        "They play their first album from beginning to end, for the first time since 2011.",
    ),
    Show(
        name="Midnight Orchard",
        artist="Solène Marchetti Trio",
        venue="The Blue Pear, Vallon",
        zone="Europe/Paris",
        days=15,
        begins="21:00",
        capacity=(16, 100, 1000),
        left=(4, 71, 870),
        description="Piano, double bass and brushes, somewhere between a waltz and a rumour. "
        "The trio takes requests after the interval.",
    ),
    Show(
        name="Ten Thousand Kites",
        artist="Mina Okafor",
        venue="Riverside Stage, Eastmere",
        zone="America/New_York",
        days=19,
        begins="18:30",
        capacity=(60, 150, 1600),
        left=(22, 96, 1290),
        description="Afrobeat under the open sky, with a twelve-piece band and dancing from the "
        "first bar. Bring a kite, and shoes that can take it.",
    ),
    Show(
        name="The Glass Symphony",
        artist="Eastmere Chamber Orchestra",
        venue="Saint Odile Concert House, Eastmere",
        zone="America/New_York",
        days=23,
        begins="19:00",
        capacity=(80, 180, 1400),
        left=(35, 120, 1180),
        description="Two new works for strings and a hundred tuned wine glasses. "
        "The conductor explains beforehand which of them may break.",
    ),
    Show(
        name="Static & Honey",
        artist="Velvet Transistor",
        venue="Kraftwerk Nord, Hallstedt",
        zone="Europe/Berlin",
        days=28,
        begins="22:00",
        capacity=(30, 140, 1800),
        left=(6, 88, 1530),
        description="A wall of old synthesizers, rebuilt by hand every night. "
        "Doors stay open until the last tram.",
    ),
    Show(
        name="Letters from the Coast",
        artist="Rosalind Achterberg",
        venue="Lighthouse Theatre, Port Ansel",
        zone="America/Halifax",
        days=34,
        begins="20:00",
        capacity=(24, 110, 1050),
        left=(11, 64, 930),
        description="One voice, one guitar and forty years of postcards, read aloud in between. "
        "Every ticket comes with a stamp.",
    ),
    Show(
        name="Brass Against the Rain",
        artist="Mudlark Marching Band",
        venue="Market Square, Lowfield",
        zone="Europe/London",
        days=40,
        begins="17:00",
        capacity=(50, 200, 2000),
        left=(27, 142, 1760),
        description="Nineteen horns, four drummers and a forecast that nobody listens to. "
        "The concert takes place in any weather.",
    ),
    Show(
        name="Satellite Hearts",
        artist="Juno Park",
        venue="Meridian Arena, Castellan",
        zone="Europe/Madrid",
        days=47,
        begins="20:30",
        capacity=(100, 200, 2000),
        left=(48, 133, 1695),
        description="Pop at full altitude, with lasers, a floating stage and three costume "
        "changes in one song. It is the only date of the tour this far south.",
    ),
    Show(
        name="Slow Rivers",
        artist="Tomas Eklund & The Ferrymen",
        venue="Boathouse No. 4, Bergsund",
        zone="Europe/Oslo",
        days=55,
        begins="19:30",
        capacity=(18, 100, 1000),
        left=(9, 77, 905),
        description="Country songs from a country without deserts. "
        "The band plays on the water; the audience stays dry.",
    ),
    Show(
        name="Copper Moon",
        artist="Dahlia Reyes",
        venue="Teatro Alameda, San Telmo",
        zone="America/Argentina/Buenos_Aires",
        days=63,
        begins="21:00",
        capacity=(45, 130, 1300),
        left=(31, 102, 1165),
        description="Tango with electric guitars, danced and sung by the same ten people. "
        "There is a lesson for beginners one hour before.",
    ),
    Show(
        name="A Field of Bells",
        artist="Choir of the Nine Villages",
        venue="Abbey of the Nine Villages, Orrin",
        zone="Europe/Dublin",
        days=72,
        begins="16:00",
        capacity=(36, 160, 1500),
        left=(29, 131, 1388),
        description="Nine village choirs sing one piece from nine places in the house. "
        "Sit wherever you like: it sounds different everywhere.",
    ),
    Show(
        name="Thunder, Politely",
        artist="The Wednesday Committee",
        venue="Town Hall Cellar, Lowfield",
        zone="Europe/London",
        days=81,
        begins="20:00",
        capacity=(28, 120, 1250),
        left=(20, 99, 1137),
        description="Post-rock in suits, with a printed agenda and any other business at the end. "
        "Ear plugs are free at the bar.",
    ),
    Show(
        name="First Light",
        artist="Ilse Vantongeren",
        venue="Royal Winter Garden, Castellan",
        zone="Europe/Madrid",
        days=120,
        begins="19:00",
        capacity=(100, 200, 2000),
        left=(100, 200, 2000),
        sales_open_in_days=3,
        description="The new album, heard for the first time, in the largest house of the region. "
        "Sales open in a few days, for everybody at the same minute.",
    ),
]
