"""A small plot as SVG: lines over a few counts of clients, with their range. No library needed."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 46, 50
COLOURS = ("#888888", "#bbbbbb", "#0b6e4f", "#e07a1f", "#3a5fcd")


@dataclass(frozen=True)
class Series:
    """One line: points of (clients, median, least, most)."""

    name: str
    points: list[tuple[int, float, float, float]]
    dashed: bool = False


def throughput_plot(title: str, series: list[Series]) -> str:
    """The plot as an SVG document. Clients stand evenly spaced, the value axis begins at 0."""
    clients = sorted({point[0] for line in series for point in line.points})
    top = nice_ceiling(max((point[3] for line in series for point in line.points), default=1.0))

    def x(count: int) -> float:
        place = clients.index(count) + 0.5
        return LEFT + place * (WIDTH - LEFT - RIGHT) / len(clients)

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
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>')
    for count in clients:
        parts.append(f'<text x="{x(count):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{count}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">clients</text>')
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
