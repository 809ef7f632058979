"""Rows that a scan read twice: finding them by key over all partitions, and leaving them out.

Memory stays bounded: keys lie in files, and are compared by a 64-bit hash, one range of hash values
at a time; only keys whose hashes meet are looked at themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loaders.files import private_file, publish, translated

KEYS = pa.schema([("key", pa.binary()), ("hash", pa.uint64())])
_TABLE = pa.schema([("key", pa.binary()), ("taken", pa.bool_())])
_ROWS_AT_ONCE = 1 << 23  # 64 MiB of hashes


@dataclass(frozen=True)
class Repeats:
    """Keys of one partition that were read more than once.

    Attributes:
        keys: distinct, encoded.
        taken: for each key, whether an earlier partition keeps its row.
    """

    keys: pa.Array
    taken: NDArray[np.bool_]

    def filter(self, path: Path) -> RepeatFilter:
        """A filter for another reading of the partition; ``path`` is the key file of the first.

        Without that file, as when a finished seal is repaired, rows new since then are not left out.
        """
        known = [batch["hash"].to_numpy() for batch in _batches(path)] if path.is_file() else None
        return RepeatFilter(
            self.keys, self.taken.copy(), None if known is None else np.concatenate(known)
        )

    def save(self, path: Path) -> None:
        """Write to a file, replacing one of that name."""
        batch = pa.record_batch([self.keys, pa.array(self.taken)], schema=_TABLE)
        with translated(path.parent), private_file(path.parent) as file:
            with pa.ipc.new_stream(pa.PythonFile(file, "w"), _TABLE) as writer:
                writer.write_batch(batch)
            publish(file, path, replace=True)

    @classmethod
    def load(cls, path: Path) -> Repeats | None:
        """Read what ``save`` wrote; None if there is no such file."""
        if not path.exists():
            return None
        table = pa.ipc.open_stream(path.read_bytes()).read_all().combine_chunks()
        keys = pa.concat_arrays(table["key"].chunks)
        return cls(keys, table["taken"].to_numpy())


class RepeatFilter:
    """Passes a repeated key's first row, unless another partition keeps it, and every other row.

    Rows whose keys were not read the first time are left out: whether they are repeats is not known.
    """

    def __init__(
        self, keys: pa.Array, taken: NDArray[np.bool_], known: NDArray[np.uint64] | None
    ) -> None:
        self._keys = keys
        self._taken = taken
        self._known = known

    def __call__(self, batch: pa.RecordBatch, keys: pa.Array) -> pa.RecordBatch:
        """The batch without the rows that are repeats; ``keys`` are its rows' encoded keys."""
        which = pc.fill_null(pc.index_in(keys, value_set=self._keys), -1).to_numpy()
        keep = which < 0
        if self._known is not None:
            keep &= np.isin(hashes(keys), self._known)
        rows = np.flatnonzero(which >= 0)
        suspects, first = np.unique(which[rows], return_index=True)
        keep[rows[first[~self._taken[suspects]]]] = True
        self._taken[suspects] = True
        return batch.filter(pa.array(keep))


def hashes(keys: pa.Array) -> NDArray[np.uint64]:
    """A 64-bit hash of each key: the sum of its bytes, each times a random weight of its place."""
    _, places, data = keys.buffers()
    ends = np.frombuffer(places, np.int32)[keys.offset : keys.offset + len(keys) + 1].astype(
        np.int64
    )
    lengths = np.diff(ends)
    octets = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)
    starts = ends[:-1] - ends[0]
    place = np.arange(len(octets)) - np.repeat(starts, lengths)
    width = int(lengths.max(initial=0))
    weights = np.random.Philox(key=1).random_raw(width + 1) | np.uint64(1)
    terms = (octets.astype(np.uint64) + np.uint64(1)) * weights[place]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    found: NDArray[np.uint64] = sums[starts + lengths] - sums[starts]
    found ^= found >> np.uint64(32)
    return found * np.uint64(0x9E3779B97F4A7C15)


def key_batch(keys: pa.Array) -> pa.RecordBatch:
    """A batch's keys and their hashes, as they are kept in a partition's key file."""
    return pa.record_batch([keys, pa.array(hashes(keys))], schema=KEYS)


def find(paths: Mapping[int, Path], rows: int) -> dict[int, Repeats]:
    """Partitions that hold repeated keys, with those keys; the first partition keeps the row.

    Args:
        paths: each partition's key file.
        rows: keys in all of them together.
    """
    keys: list[pa.Array] = []
    owners: list[NDArray[np.int64]] = []
    meeting = _meeting_hashes(list(paths.values()), -(-rows // _ROWS_AT_ONCE))
    if not len(meeting):
        return {}
    for partition in sorted(paths):
        for batch in _batches(paths[partition]):
            hit = np.isin(batch["hash"].to_numpy(), meeting)
            if hit.any():
                keys.append(batch["key"].filter(pa.array(hit)))
                owners.append(np.full(len(keys[-1]), partition))
    codes = pa.concat_arrays(keys).dictionary_encode()
    code, owner = codes.indices.to_numpy(), np.concatenate(owners)
    counts = np.bincount(code)
    first = np.full(len(counts), np.iinfo(np.int64).max)
    np.minimum.at(first, code, owner)
    found = {}
    for partition in np.unique(owner):
        mine = np.unique(code[owner == partition])
        mine = mine[counts[mine] > 1]
        if len(mine):
            names = codes.dictionary.take(pa.array(mine))
            found[int(partition)] = Repeats(names, first[mine] < partition)
    return found


def _meeting_hashes(paths: list[Path], ranges: int) -> NDArray[np.uint64]:
    """Hashes that stand more than once, found range by range."""
    found = [np.empty(0, np.uint64)]
    cuts = [(1 << 64) * i // ranges for i in range(ranges + 1)] if ranges else [0]
    for low, high in itertools.pairwise(cuts):
        some = [np.empty(0, np.uint64)]
        for path in paths:
            for batch in _batches(path):
                values = batch["hash"].to_numpy()
                inside = (values >= np.uint64(low)) & (values <= np.uint64(high - 1))
                some.append(values[inside])
        ordered = np.sort(np.concatenate(some))
        found.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
    return np.concatenate(found)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as file:
        yield from pa.ipc.open_stream(file)
