"""Draw the JSON of the case ``growth`` as SVG: rates and client memory over the table's size.

python scripts/benchmarks/plot.py growth.json docs/growth.svg
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, PANEL_HEIGHT = 640, 230
LEFT, RIGHT, TOP, BOTTOM = 80, 90, 40, 40
COLORS = {"read": "#1f6feb", "write": "#d1622b"}
STEPS = (1, 2, 5, 10)

Sizes = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Panel:
    """One plot: a quantity of reads and of writes over the number of rows, on a logarithmic axis.

    Attributes:
        title: what is drawn, with its unit.
        suffix: which figures of a size are drawn: ``read`` and ``write`` with this behind them.
        divisor: figures are drawn in this unit.
        top: where the panel begins.
    """

    title: str
    suffix: str
    divisor: float
    top: int

    def svg(self, sizes: Sizes) -> list[str]:
        rows = [size["rows"] for size in sizes]
        curves = {
            verb: [size[verb + self.suffix] / self.divisor for size in sizes] for verb in COLORS
        }
        ticks = ticks_up_to(max(1.0, *map(max, curves.values())))
        found = [text(LEFT, self.top + TOP - 16, self.title, "start", "bold")]
        for tick in ticks:
            y = self._y(tick, ticks[-1])
            found += [line(LEFT, y, WIDTH - RIGHT, y), text(LEFT - 8, y + 4, f"{tick:,g}", "end")]
        for each in rows:
            x, bottom = across(each, rows), self._y(0, ticks[-1])
            found += [line(x, bottom, x, bottom + 5), text(x, bottom + 19, short(each), "middle")]
        for verb, values in curves.items():
            points = [
                (across(each, rows), self._y(value, ticks[-1]))
                for each, value in zip(rows, values, strict=True)
            ]
            found += curve(points, COLORS[verb])
        ends = sorted(curves, key=lambda verb: curves[verb][-1])
        places = [self._y(curves[verb][-1], ticks[-1]) for verb in ends]
        places[1] = min(places[1], places[0] - 16)  # names do not overlap
        for verb, y in zip(ends, places, strict=True):
            found.append(text(WIDTH - RIGHT + 10, y + 4, verb, "start", "bold", COLORS[verb]))
        return found

    def _y(self, value: float, most: float) -> float:
        return self.top + PANEL_HEIGHT - BOTTOM - (PANEL_HEIGHT - TOP - BOTTOM) * value / most


def across(rows: float, all_rows: Sequence[float]) -> float:
    """Where a number of rows stands on the logarithmic axis."""
    low, high = math.log10(min(all_rows)), math.log10(max(all_rows))
    share = (math.log10(rows) - low) / (high - low) if high > low else 0.5
    return LEFT + 16 + share * (WIDTH - LEFT - RIGHT - 32)


def ticks_up_to(most: float) -> list[float]:
    """Four to six round numbers from 0 to at least ``most``, which is positive."""
    power = 10.0 ** math.floor(math.log10(most / 5))
    step = next(each * power for each in STEPS if each * power * 5 >= most)
    return [i * step for i in range(math.ceil(most / step) + 1)]


def short(rows: float) -> str:
    """10k, 1M."""
    return f"{rows / 1e6:g}M" if rows >= 1e6 else f"{rows / 1e3:g}k"


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#d0d7de"/>'


def curve(points: Sequence[tuple[float, float]], color: str) -> list[str]:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in points]
    return [f'<path d="M{path}" stroke="{color}" stroke-width="2" fill="none"/>', *dots]


def text(
    x: float, y: float, words: str, anchor: str, weight: str = "normal", color: str = "#57606a"
) -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="{color}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def svg_of(sizes: Sizes) -> str:
    """The whole picture."""
    rates = Panel("thousand rows per second", "_rows_per_second", 1e3, 0)
    memory = Panel("client memory over idle, MB", "_over_idle_mb", 1, PANEL_HEIGHT)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {2 * PANEL_HEIGHT}"'
        ' font-family="sans-serif" font-size="12">'
    )
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([opening, ground, *rates.svg(sizes), *memory.svg(sizes), "</svg>", ""])


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(svg_of(json.loads(source.read_text())["sizes"]))
