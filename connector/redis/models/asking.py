"""Asking for the elements of keys: as one array a key, or as a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from connector.redis.commands import keyed_request
from connector.redis.link import Link
from connector.redis.models.model import Counts, Found


@dataclass(frozen=True)
class Question:
    """How the elements of a key are asked for.

    Attributes:
        name: the command that answers all elements.
        arguments: its arguments after the key.
        size: the command that answers how many there are.
        width: values that are answered for each element.
    """

    name: bytes
    arguments: tuple[bytes, ...]
    size: bytes
    width: int = 1

    def request(self, keys: pa.Array, *, counted: bool) -> memoryview:
        """The request for the elements of keys, or where they are only ``counted``, their number."""
        if counted:
            return keyed_request(self.size, keys)
        return keyed_request(self.name, keys, self.arguments)

    def receive(self, link: Link, keys: pa.Array, *, counted: bool) -> Answered:
        """The answer to that request."""
        if counted:
            sizes = link.statuses(len(keys))
            return Answered(sizes.numbers, [], sizes.errors, sizes.size)
        arrays = link.arrays(len(keys))
        flat = arrays.flat()
        if self.width > 1:
            places = np.arange(0, len(flat), self.width)
            parts = [flat.take(pa.array(places + i)) for i in range(self.width)]
        else:
            parts = [flat]
        return Answered(arrays.counts // self.width, parts, arrays.errors, arrays.size)


@dataclass(frozen=True)
class Answered:
    """The elements of some keys.

    Attributes:
        counts: how many each key has; shape (keys,). A key without any does not exist.
        parts: the values of all elements, one array for each value of an element.
        errors: the keys that were refused, and why.
        size: bytes received.
    """

    counts: Counts
    parts: list[pa.Array]
    errors: dict[int, str]
    size: int

    @property
    def offsets(self) -> pa.Array:
        """Where each key's elements begin, and the end of the last."""
        return offsets(self.counts)


@dataclass(frozen=True)
class ArrayFetch:
    """One row a key: all its elements as an array, or nothing but whether it is there."""

    question: Question
    column: str | None
    presence: ClassVar[bytes] = b"EXISTS"

    def request(self, keys: pa.Array) -> memoryview:
        return self.question.request(keys, counted=self.column is None)

    def receive(self, link: Link, keys: pa.Array) -> Found:
        answer = self.question.receive(link, keys, counted=self.column is None)
        columns = {}
        if self.column is not None:
            parts = answer.parts
            flat = parts[0] if len(parts) == 1 else pa.StructArray.from_arrays(parts, _names(parts))
            columns[self.column] = pa.ListArray.from_arrays(answer.offsets, flat)
        return Found(columns, answer.errors, answer.size, missing=answer.counts == 0)


@dataclass(frozen=True)
class RowsFetch:
    """One row an element.

    Attributes:
        question: how elements are asked for.
        names: of the columns asked for, those whose values are in the answer, as they stand there;
            None for a value that is not asked for. Empty where no values are.
        index: the column that counts the elements of a key, where it is asked for.
    """

    question: Question
    names: tuple[str | None, ...]
    index: str | None = None
    presence: ClassVar[bytes] = b"EXISTS"

    def request(self, keys: pa.Array) -> memoryview:
        return self.question.request(keys, counted=not self.names)

    def receive(self, link: Link, keys: pa.Array) -> Found:
        answer = self.question.receive(link, keys, counted=not self.names)
        pairs = zip(self.names, answer.parts, strict=True)
        columns = {name: part for name, part in pairs if name is not None}
        counts = answer.counts
        if self.index is not None:
            firsts = np.repeat(np.cumsum(counts) - counts, counts)
            columns[self.index] = pa.array(np.arange(len(firsts)) - firsts)
        return Found(columns, answer.errors, answer.size, missing=counts == 0, rows=counts)


def offsets(counts: Counts) -> pa.Array:
    """The offsets of lists of these lengths."""
    return pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())


def _names(parts: Sequence[pa.Array]) -> list[str]:
    return [str(i) for i in range(len(parts))]
