"""Several sealed sources as one, from which every epoch takes rows by weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from connector.digests import digest
from connector.errors import OptionError, SchemaError
from loaders.mixing import shared_out
from loaders.shards import ShardedSource


@dataclass(frozen=True)
class Mixture:
    """Sealed sources mixed by weights; datasets take it as they take one.

    Of weights 3 and 1 every epoch has three rows of the first source for one of the second, well mixed.
    A source that gives fewer rows than it has goes on in the next epoch where it stopped; one that gives
    more begins anew, in another order.

    Attributes:
        sources: from ``seal``.
        weights: of each source, above 0; they need not be 1 together.
        rows: of an epoch; None for as many as the sources have together.

    Raises:
        OptionError: there is no source, not one weight for each, or a weight or ``rows`` is out of range; or
            a source without rows is to give some.
    """

    sources: Sequence[ShardedSource]
    weights: Sequence[float]
    rows: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        object.__setattr__(self, "weights", tuple(self.weights))
        if not self.sources or len(self.sources) != len(self.weights):
            raise OptionError(
                f"a mixture has one weight for each source, and here are {len(self.weights)} weights for "
                f"{len(self.sources)} sources"
            )
        for weight in self.weights:
            if not 0 < weight < math.inf:
                raise OptionError(f"a weight must be a number above 0, and one is {weight}")
        if self.rows is not None and self.rows < 1:
            raise OptionError(f"rows must be at least 1, got {self.rows}")
        for i, (source, count) in enumerate(zip(self.sources, self.counts, strict=True)):
            if count and not source.rows:
                raise OptionError(f"source {i} of the mixture has no rows: leave it out")

    @classmethod
    def of(cls, given: ShardedSource | Mixture) -> Mixture:
        """What a dataset was given: a mixture, or one source, which is a mixture of one."""
        return given if isinstance(given, Mixture) else cls((given,), (1.0,))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many rows of each source an epoch has."""
        together = sum(source.rows for source in self.sources)
        return shared_out(together if self.rows is None else self.rows, self.weights)

    @property
    def fingerprint(self) -> str:
        """Equal for equal rows in equal shares; that of the source where there is one alone."""
        prints = [source.fingerprint for source in self.sources]
        if self.counts == (self.sources[0].rows,):
            return prints[0]
        return digest("mixture", *prints, self.counts)

    def chosen(self, columns: Sequence[str] | None) -> pa.Schema:
        """The schema of some columns, in order; None for all of the first source.

        Raises:
            SchemaError: a source lacks one of them, or has another type for it, or more columns where None
                are named.
        """
        first, *others = self.sources
        schema = first.chosen(columns)
        for i, source in enumerate(others, 1):
            found = source.chosen(schema.names)
            if columns is None and len(source.schema) > len(schema):
                extra = next(name for name in source.schema.names if name not in schema.names)
                raise SchemaError(
                    f"source {i} of the mixture has a column {extra!r} that source 0 lacks: name the columns "
                    f"by columns="
                )
            for item, own in zip(schema, found, strict=True):
                if own.type != item.type:
                    raise SchemaError(
                        f"column {item.name!r} is {item.type} in source 0 of the mixture and {own.type} in "
                        f"source {i}: cast it in the transform"
                    )
        return schema
