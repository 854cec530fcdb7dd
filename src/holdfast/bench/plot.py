"""Small plots as SVG: lines over a few counts of clients, or over a quantity, with their range. No library needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 46, 50
COLOURS = ("#888888", "#bbbbbb", "#0b6e4f", "#e07a1f", "#3a5fcd")


@dataclass(frozen=True)
class Series:
    """One line: points of (clients or another quantity, median, least, most)."""

    name: str
    points: list[tuple[int, float, float, float]]
    dashed: bool = False


def throughput_plot(title: str, series: list[Series]) -> str:
    """The plot as an SVG document. Clients stand evenly spaced, the value axis begins at 0."""
    clients = sorted({point[0] for line in series for point in line.points})

    def x(count: float) -> float:
        return LEFT + (clients.index(round(count)) + 0.5) * (WIDTH - LEFT - RIGHT) / len(clients)

    return _plot(title, series, x, [(count, str(count)) for count in clients], "clients")


def curve_plot(title: str, series: list[Series], quantity: str) -> str:
    """The plot over a quantity, as an SVG document. Both axes are linear and begin at 0."""
    most = nice_ceiling(max((point[0] for line in series for point in line.points), default=1))

    def x(count: float) -> float:
        return LEFT + count * (WIDTH - LEFT - RIGHT) / most

    return _plot(title, series, x, [(most * step / 5, f"{most * step / 5:,.0f}") for step in range(6)], quantity)


def _plot(
    title: str, series: list[Series], x: Callable[[float], float], marks: Sequence[tuple[float, str]], quantity: str
) -> str:
    """The lines, an axis of values that begins at 0, and the other axis with its marks."""
    top = nice_ceiling(max((point[3] for line in series for point in line.points), default=1.0))

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="26" font-size="16">{escape(title)}</text>',
    ]
    for step in range(6):
        value = top * step / 5
        text = f"{value:,.0f}" if top >= 5 else f"{value:.1f}"
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>')
    for place, text in marks:
        parts.append(f'<text x="{x(place):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(quantity)}</text>')
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
        path = "M" + "L".join(f"{x(count):.1f} {y(median):.1f}" for count, median, _, _ in line.points)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        for count, median, least, most in line.points:
            parts.append(f'<path d="M{x(count):.1f} {y(least):.1f}V{y(most):.1f}" stroke="{colour}" stroke-width="5"/>')
            parts.append(f'<circle cx="{x(count):.1f}" cy="{y(median):.1f}" r="4" fill="{colour}"/>')
        legend = TOP + 10 + number * 22
        left = WIDTH - RIGHT + 14
        parts.append(f'<path d="M{left} {legend}h24" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(f'<text x="{left + 32}" y="{legend + 4}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def nice_ceiling(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= value)
