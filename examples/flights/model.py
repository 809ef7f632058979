"""What the model learns from, the model, and how well it ranks late flights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

TRAINED_MONTHS = 10
"""Months 1 to 10 are trained on; 11 and 12 are held out."""

CATEGORIES = ("carrier", "origin", "dest", "manufacturer", "weekday", "hour")
NUMBERS = (
    "departs", "arrives", "distance", "engines", "seats", "age",
    "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip
COLUMNS = ("month", *CATEGORIES, *NUMBERS, "late")
"""The columns of the table that the model needs."""

Batch = Mapping[str, torch.Tensor]
Column = npt.NDArray[Any]


@dataclass(frozen=True)
class Features:
    """What must be known to turn a flight into numbers, learnt from the months trained on.

    Attributes:
        categories: of each categorical column the values known, in order; a value's number is its
            place, from 1; 0 is for null and for what was not seen in training.
        centres: of each number its mean, which also stands in for null.
        scales: of each number its standard deviation.
    """

    categories: tuple[tuple[str, ...], ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]

    @classmethod
    def fit(cls, table: pa.Table) -> Features:
        """Learn from the flights of a table that are trained on."""
        known = table.filter(trained(table))
        categories = []
        for name in CATEGORIES:
            values = pc.drop_null(pc.unique(known.column(name).cast(pa.string())))
            categories.append(tuple(sorted(values.to_pylist())))
        return cls(
            tuple(categories),
            tuple(_rounded(pc.mean(known.column(name))) for name in NUMBERS),
            tuple(_rounded(pc.stddev(known.column(name))) or 1.0 for name in NUMBERS),
        )

    def params(self, held_out: bool) -> dict[str, object]:
        """Arguments of ``encode``."""
        return {
            "categories": self.categories,
            "centres": self.centres,
            "scales": self.scales,
            "held_out": held_out,
        }


def _rounded(value: pa.Scalar) -> float:
    """Six digits: the rest depends on the order of the rows, and would make the shards new ones."""
    return float(f"{value.as_py():.6g}")


def encode(
    batch: pa.RecordBatch,
    categories: tuple[tuple[str, ...], ...],
    centres: tuple[float, ...],
    scales: tuple[float, ...],
    held_out: bool,
) -> pa.RecordBatch:
    """Flights as numbers, of the months trained on or of those held out.

    Flights that never arrived are left out. The other arguments are those of Features.
    """
    chosen = trained(batch)
    chosen = pc.invert(chosen) if held_out else chosen
    batch = batch.filter(pc.and_(chosen, pc.is_valid(batch.column("late"))))
    columns = {}
    for name, values in zip(CATEGORIES, categories, strict=True):
        place = pc.index_in(batch.column(name).cast(pa.string()), value_set=pa.array(values))
        columns[name] = pc.add(pc.fill_null(place, -1), 1)
    for name, centre, scale in zip(NUMBERS, centres, scales, strict=True):
        scaled = pc.divide(pc.subtract(batch.column(name).cast(pa.float64()), centre), scale)
        columns[name] = pc.fill_null(scaled, 0.0).cast(pa.float32())
    columns["late"] = batch.column("late").cast(pa.int8()).cast(pa.float32())
    return pa.RecordBatch.from_pydict(columns)


def trained(rows: pa.Table | pa.RecordBatch) -> pa.Array:
    """Which flights are trained on; the others are held out."""
    return pc.less_equal(rows.column("month"), TRAINED_MONTHS)


class DelayModel(nn.Module):
    """Embeddings of the categories beside the numbers, through two hidden layers, to one logit."""

    def __init__(self, sizes: Iterable[int], numbers: int, width: int = 128) -> None:
        super().__init__()
        sizes = list(sizes)
        dimensions = [min(16, 2 + size // 4) for size in sizes]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, dimension) for size, dimension in zip(sizes, dimensions, strict=True)
        )
        self.layers = nn.Sequential(
            nn.Linear(sum(dimensions) + numbers, width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(width, width // 2),
            nn.ReLU(),
            nn.Linear(width // 2, 1),
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        embedded = [
            embedding(batch[name].long())
            for name, embedding in zip(CATEGORIES, self.embeddings, strict=True)
        ]
        numbers = torch.stack([batch[name] for name in NUMBERS], dim=1)
        logits: torch.Tensor = self.layers(torch.cat([*embedded, numbers], dim=1)).squeeze(1)
        return logits


def train_epoch(
    model: DelayModel, optimizer: torch.optim.Optimizer, batches: Iterable[Batch]
) -> Iterator[int]:
    """Train on each batch once, and yield how many rows it had."""
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch["late"])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield len(batch["late"])


@torch.no_grad()
def scores(model: DelayModel, batches: Iterable[Batch]) -> dict[str, Column]:
    """The model's score of each flight beside its label, carrier and hour."""
    model.eval()
    found: dict[str, list[Column]] = {"score": [], "late": [], "carrier": [], "hour": []}
    for batch in batches:
        found["score"].append(model(batch).numpy())
        for name in ("late", "carrier", "hour"):
            found[name].append(batch[name].numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def mean_rates(table: pa.Table, features: Features) -> Column:
    """The share of late flights by carrier and hour, over the months trained on.

    Returns:
        An array of shape (carriers + 1, hours + 1), indexed by the numbers that ``features`` gives
        them; where no flight was seen, the share over all.
    """
    (batch,) = table.combine_chunks().to_batches()
    batch = encode(batch, **features.params(held_out=False))  # type: ignore[arg-type]
    late = batch.column("late").to_numpy()
    place = batch.column("carrier").to_numpy(), batch.column("hour").to_numpy()
    shape = tuple(
        len(features.categories[CATEGORIES.index(name)]) + 1 for name in ("carrier", "hour")
    )
    lates, flights = np.zeros(shape), np.zeros(shape)
    np.add.at(lates, place, late)
    np.add.at(flights, place, 1)
    return np.where(flights > 0, lates / np.maximum(flights, 1), late.mean())


def auc(late: Column, score: Column) -> float:
    """The chance that a late flight scores above one that is not, ties counting half.

    This is the rank-sum statistic of Mann and Whitney.
    """
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positive = late > 0.5
    lates, others = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - lates * (lates + 1) / 2) / (lates * others))
