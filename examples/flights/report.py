"""What the demo shows: progress bars on a terminal, and a table of rates at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


def _console() -> Console:
    """The terminal; or as wide as the tables need, where there is none to wrap lines for."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


@dataclass
class Step:
    """One step of the job, while it runs and afterwards.

    Attributes:
        name: what is done.
        rows: rows passed so far.
        seconds: how long it took.
    """

    name: str
    rows: int = 0
    seconds: float = 0.0
    _bars: Progress | None = None

    def advance(self, rows: int) -> None:
        """Count rows that have passed."""
        self.rows += rows
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[-1], completed=self.rows)


@dataclass
class Report:
    """The steps taken, and other figures; bars only where the output is a terminal."""

    console: Console = field(default_factory=_console)
    steps: list[Step] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Step]:
        """Time a step; ``total`` is the number of rows expected, where it is known."""
        columns = (
            TextColumn("{task.description:<32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=self.console, disable=not self.console.is_terminal, transient=True
        ) as bars:
            bars.add_task(name, total=total)
            step = Step(name, _bars=bars)
            begun = time.perf_counter()
            yield step
            step.seconds = time.perf_counter() - begun
        self.steps.append(step)

    def figure(self, name: str, value: str) -> None:
        """Add a figure that is no rate."""
        self.figures.append((name, value))

    def show(self) -> None:
        """Print the table."""
        style = box.ROUNDED if self.console.is_terminal else None
        table = Table(box=style, title="Rates", title_justify="left")
        table.add_column("step")
        for heading in ("rows", "seconds", "rows/s"):
            table.add_column(heading, justify="right")
        for step in self.steps:
            rate = f"{step.rows / step.seconds:,.0f}" if step.rows else ""
            table.add_row(
                step.name, f"{step.rows:,}" if step.rows else "", f"{step.seconds:.2f}", rate
            )
        self.console.print(table)
        figures = Table(box=style, show_header=False)
        for name, value in self.figures:
            figures.add_row(name, value)
        self.console.print(figures)
