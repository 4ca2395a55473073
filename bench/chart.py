"""Draws the rates of one hot tier against the number of connections."""

from bench.measure import Run
from bench.scenarios import rate

NAMES = {
    "book": "TicketBook",
    "base": "the base",
    "nothing": "empty endpoint, on the base",
    "textbook": "textbook code, on the base",
    "pgbench": "PostgreSQL alone",
}
COLOURS = {
    "book": "#0b5d57",
    "base": "#c77700",
    "nothing": "#8a8a8a",
    "textbook": "#b3261e",
    "pgbench": "#336791",
}


def chart(runs: list[Run]) -> str:
    """Return an SVG of the median rates at each number of connections, one line for each kind of run."""
    clients = sorted({run.clients for run in runs})
    lines = {what: _rates_of(what, runs, clients) for what in COLOURS}
    step = _tick(max(max(rates) for rates in lines.values()))
    top = step * (int(max(max(rates) for rates in lines.values()) / step) + 1)
    width, height, left, right, bottom = 780, 400, 60, 230, 60

    # The numbers of connections grow by factors, so their points are placed at equal distances.
    def x(index: int) -> float:
        return left + index * (width - left - right) / max(len(clients) - 1, 1)

    def y(value: float) -> float:
        return height - bottom - value / top * (height - bottom - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="{height - 12}">across: connections; up: answers a second, median</text>',
    ]
    for value in range(0, top + 1, step):
        parts.append(f'<path d="M{left} {y(value):.0f}H{x(len(clients) - 1):.0f}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{left - 8}" y="{y(value) + 4:.0f}" text-anchor="end">{value}</text>'
        )
    for index, count in enumerate(clients):
        parts.append(
            f'<text x="{x(index):.0f}" y="{height - 38}" text-anchor="middle">{count}</text>'
        )
    labels = _apart({what: y(rates[-1]) for what, rates in lines.items()}, gap=17)
    for what, rates in lines.items():
        points = " ".join(f"{x(i):.0f},{y(value):.0f}" for i, value in enumerate(rates))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[what]}" stroke-width="3"/>'
            f'<text x="{x(len(clients) - 1) + 10:.0f}" y="{labels[what] + 4:.0f}" '
            f'fill="{COLOURS[what]}">{NAMES[what]}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _rates_of(what: str, runs: list[Run], clients: list[int]) -> list[float]:
    # The endpoints for comparison and pgbench are not measured at 1,000 connections.
    measured = {run.clients for run in runs if run.what == what}
    return [rate(runs, what, count) for count in clients if count in measured]


def _tick(most: float) -> int:
    """Return the smallest round number that is at least a tenth of `most`."""
    return next(size for size in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if most / size <= 10)


def _apart(places: dict[str, float], *, gap: float) -> dict[str, float]:
    """Return the places, some moved up so that any two are at least `gap` apart."""
    moved: dict[str, float] = {}
    for name, place in sorted(places.items(), key=lambda item: -item[1]):
        moved[name] = min(place, min(moved.values(), default=place + gap) - gap)
    return moved
