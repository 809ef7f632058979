"""Putting what a job wrote into an Arrow table, in place of the rows with the same keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from connector.arrow_tables.encoding import ChunkWriter, read_chunks
from connector.arrow_tables.index import Chunk, Index, fresh
from connector.arrow_tables.results import from_items
from connector.arrow_tables.values import Values
from connector.codecs import encode_keys
from connector.errors import PlanExpiredError, SchemaError, StoreError
from connector.jobs import SchemaEvolution, WriteJob, WriteMode, WriteResult
from connector.schema import check_append, keyed

log = logging.getLogger(__name__)

_ATTEMPTS = 20  # to swap the index, while other jobs swap it
_LOOKUP_ROWS = 1 << 18  # least keys to look up at once: each look-up hashes all written keys


@dataclass
class Commit:
    """One commit of one job.

    Attributes:
        job: what was written.
        values: the table's place.
        codec: how chunks are compressed.
    """

    job: WriteJob
    values: Values
    codec: str | None
    _verdicts: dict[str, tuple[Chunk, ...]] = field(
        default_factory=dict
    )  # what becomes of old chunks
    _seen: set[str] = field(default_factory=set)  # chunks that were the table's, or were to be

    def run(self, results: Sequence[WriteResult]) -> None:
        """Swap the table's index for what it is with the job's rows, then delete what it was.

        Raises:
            SchemaError: a key was written twice, or the table's columns are others by now. Nothing of
                the table has changed.
            StoreError: a chunk is gone, or other jobs swap the index all the time.
        """
        doing = self.values.doing
        new, written = from_items(item for result in results for item in result.keys)
        rows = sum(result.rows for result in results)
        if not sum(chunk.rows for chunk in new) == len(written) == rows:
            raise SchemaError(
                f"{doing}: the results name {len(written)} keys for {rows} rows; nothing was changed"
            )
        self._check_distinct(written)
        self._check_there(new)
        _, index = self._swap(new, written)
        noted = index.schema.with_metadata(_schema_of(self.job).metadata)
        self.values.save(self.job, noted)
        deleted = self._delete(index)
        log.info("%s: %d rows in %d chunks, %d old ones deleted", doing, rows, len(new), deleted)

    def remove(self, names: pa.Array) -> int:
        """Take the rows with these encoded keys out of the table; return how many there were."""
        before, after = self._swap([], pa.chunked_array([names]))
        self._delete(after)
        return 0 if before is None else before.rows - after.rows

    def _check_distinct(self, written: pa.ChunkedArray) -> None:
        distinct = pc.count_distinct(written).as_py()
        if distinct == len(written):
            return
        counts = pc.value_counts(written)
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        raise SchemaError(
            f"{self.values.doing}: {len(twice)} keys were written more than once, such as "
            f"{twice[0].as_py()!r}; drop the duplicates, as there is no telling which row should win. "
            f"Nothing was changed"
        )

    def _check_there(self, new: Sequence[Chunk]) -> None:
        """Raise StoreError where a chunk is not what was written: evicted, or lost in a failover."""
        lost = self.values.missing(new)
        if lost:
            raise StoreError(
                f"{self.values.doing}: {len(lost)} of {len(new)} chunks that were written are gone, such "
                f"as {self.values.place(lost[0].name)}; nothing was changed, write again"
            )

    def _swap(self, new: Sequence[Chunk], written: pa.ChunkedArray) -> tuple[Index | None, Index]:
        """Put the new chunks into the index; return what it was, and what it is then."""
        names = {chunk.name for chunk in new}
        for _ in range(_ATTEMPTS):
            before, stamp = self.values.load()
            if before is not None:
                if names and names <= before.chunks.keys():
                    return before, before  # an earlier attempt, or commit, whose answer was lost
                self._seen |= before.chunks.keys()
            try:
                after = self._after(before, new, written)
            except PlanExpiredError:  # another job has swapped the index meanwhile
                continue
            if self.values.swap(stamp, after):
                return before, after
        raise StoreError(
            f"{self.values.doing}: other jobs change the table all the time; nothing was changed, write "
            f"again"
        )

    def _after(self, before: Index | None, new: Sequence[Chunk], written: pa.ChunkedArray) -> Index:
        job = self.job
        if before is None or job.options.mode is WriteMode.OVERWRITE:
            return Index.of(_schema_of(job), new)
        add = job.options.evolution is SchemaEvolution.ADD
        schema = check_append(job.table, before.schema, _schema_of(job), job.key, add=add)
        unknown = [chunk for name, chunk in before.chunks.items() if name not in self._verdicts]
        if len(written):
            self._judge(unknown, written)
        old = ((chunk,) for chunk in before.chunks.values())
        kept = (self._verdicts.get(one[0].name, one) for one in old)
        return Index.of(schema, [*(chunk for each in kept for chunk in each), *new])

    def _judge(self, chunks: Sequence[Chunk], written: pa.ChunkedArray) -> None:
        """Find out which chunks hold rows that were written anew, and write those without them.

        A chunk never changes, so the verdict on it holds for every further attempt.
        """
        keep: dict[str, pa.Array] = {}
        for chunk, kept in self._looked_up(chunks, written):
            if not pc.any(kept).as_py():
                self._verdicts[chunk.name] = ()
            elif pc.all(kept).as_py():
                self._verdicts[chunk.name] = (chunk,)
            else:
                keep[chunk.name] = kept
        if keep:
            halved = [chunk for chunk in chunks if chunk.name in keep]
            self._verdicts |= self._rewritten(halved, keep)

    def _rewritten(
        self, chunks: Sequence[Chunk], keep: Mapping[str, pa.Array]
    ) -> dict[str, tuple[Chunk, ...]]:
        """Chunks with those rows alone that are to be kept, by the names of the old ones."""
        found: dict[str, tuple[Chunk, ...]] = {}
        sent: list[Chunk] = []
        most_bytes = self.values.most_bytes
        try:
            with self.values.writing() as writer:
                rewriting = ChunkWriter(writer, self.job.id, self.codec, most_bytes, sent)
                for chunk, batch in read_chunks(self.values, chunks):
                    found[chunk.name] = tuple(rewriting.write(batch.filter(keep[chunk.name])))
                writer.finish()
        finally:
            self._seen |= {chunk.name for chunk in sent}
        return found

    def _looked_up(
        self, chunks: Sequence[Chunk], written: pa.ChunkedArray
    ) -> Iterator[tuple[Chunk, pa.Array]]:
        """Each chunk, and which of its rows have keys that were not written."""
        key = self.job.key
        held: list[tuple[Chunk, pa.Array]] = []
        rows = 0
        for chunk, batch in read_chunks(self.values, chunks, key):
            held.append((chunk, encode_keys([batch.column(name) for name in key], key)))
            rows += chunk.rows
            if rows >= max(_LOOKUP_ROWS, len(written)):
                yield from _kept(held, written)
                held, rows = [], 0
        yield from _kept(held, written)

    def _delete(self, index: Index) -> int:
        """Delete the chunks that were the table's; of an overwritten one, everything else too.

        What a running job may have written is left alone: it does not know yet that it came second.
        """
        gone = self._seen - index.chunks.keys()
        deleted = self.values.delete([*gone]) if gone else 0
        if self.job.options.mode is WriteMode.OVERWRITE:
            listed = pa.array([name.encode() for name in index.chunks], pa.binary())
            deleted += self.values.clear(
                lambda names: pc.or_(pc.is_in(names, value_set=listed), fresh(names, time.time()))
            )
        return deleted


def _schema_of(job: WriteJob) -> pa.Schema:
    """The schema that is saved of a table that a job writes, with what the store noted of it."""
    schema = keyed(job.stored, job.key)
    return schema.with_metadata({**(job.schema.metadata or {}), **schema.metadata})


def _kept(
    held: Sequence[tuple[Chunk, pa.Array]], written: pa.ChunkedArray
) -> Iterator[tuple[Chunk, pa.Array]]:
    """Look up the keys of several chunks at once."""
    if not held:
        return
    keys = pa.chunked_array([keys for _, keys in held])
    kept = pc.invert(pc.is_in(keys, value_set=written)).combine_chunks()
    start = 0
    for chunk, _ in held:
        yield chunk, kept.slice(start, chunk.rows)
        start += chunk.rows
