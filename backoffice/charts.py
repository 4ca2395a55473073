"""Bar charts as numbers for a template that draws SVG. Each column is a day."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

WIDTH, HEIGHT = 600, 150  # of the drawing; the page scales it
GAP = 4  # between two columns


class Part(NamedTuple):
    """One figure of a column. Parts stand on each other, and those that go `down` hang below the line."""

    kind: str  # its class in the style sheet
    value: Decimal
    down: bool = False


class Column(NamedTuple):
    words: str  # what the pointer shows
    parts: Sequence[Part]


@dataclass
class Bar:
    kind: str
    x: str
    y: str
    width: str
    height: str


@dataclass
class Drawn:
    words: str
    x: str
    width: str
    bars: list[Bar] = field(default_factory=list)


@dataclass
class Chart:
    columns: list[Drawn]
    line: str  # where zero is
    highest: Decimal
    lowest: Decimal  # of what hangs below the line
    width: int = WIDTH
    height: int = HEIGHT


def chart(columns: Sequence[Column]) -> Chart:
    highest = max((_sum(column, down=False) for column in columns), default=Decimal(0))
    lowest = max((_sum(column, down=True) for column in columns), default=Decimal(0))
    scale = HEIGHT / float(highest + lowest or 1)
    line = HEIGHT - float(lowest) * scale
    step = WIDTH / max(len(columns), 1)
    drawn = [_draw(column, n * step, step, line, scale) for n, column in enumerate(columns)]
    return Chart(drawn, _number(line), highest, lowest)


def _sum(column: Column, *, down: bool) -> Decimal:
    return sum((part.value for part in column.parts if part.down == down), Decimal(0))


def _draw(column: Column, x: float, step: float, line: float, scale: float) -> Drawn:
    drawn = Drawn(column.words, _number(x), _number(step))
    up = down = line
    for part in column.parts:
        height = float(part.value) * scale
        if not height:
            continue
        if part.down:
            y, down = down, down + height
        else:
            y = up = up - height
        drawn.bars.append(
            Bar(part.kind, _number(x + GAP / 2), _number(y), _number(step - GAP), _number(height))
        )
    return drawn


def _number(value: float) -> str:
    # As text, because a template would write a comma in some languages.
    return f"{value:.2f}"
