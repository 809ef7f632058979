"""Putting what a job wrote into an Arrow table, in place of the rows with the same keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from connector.codecs import encode_keys
from connector.errors import PlanExpiredError, SchemaError, StoreError
from connector.jobs import SchemaEvolution, WriteJob, WriteMode, WriteResult
from connector.redis import saved
from connector.redis.arrow.chunks import ChunkReader, ChunkWriter, lengths
from connector.redis.arrow.index import Chunk, Index, await_replicas, fresh, load, swap
from connector.redis.deleting import delete_keys
from connector.redis.exchange import Links
from connector.redis.keyspace import Keyspace
from connector.redis.options import RedisOptions
from connector.redis.partitions import partition_keys, whole
from connector.redis.replicas import check_reached
from connector.redis.servers import Servers
from connector.scan import pack_keys, unpack_keys
from connector.schema import check_append

log = logging.getLogger(__name__)

_ATTEMPTS = 20  # to switch the index, while other jobs switch it
_LOOKUP_ROWS = 1 << 18  # least keys to look up at once: each look-up hashes all written keys


def to_item(chunk: Chunk, keys: pa.Array) -> bytes:
    """A chunk and the keys of its rows, as a task's result has them."""
    return chunk.name.encode() + b" " + chunk.to_text() + b"\n" + pack_keys(keys)


def from_items(items: Iterable[bytes]) -> tuple[list[Chunk], pa.ChunkedArray]:
    """The chunks and all keys of the items that ``to_item`` made."""
    chunks, blocks = [], []
    for item in items:
        head, _, block = item.partition(b"\n")
        name, _, text = head.partition(b" ")
        chunks.append(Chunk.from_text(name, text))
        blocks.append(block)
    return chunks, unpack_keys(blocks)


@dataclass
class Commit:
    """One commit of one job.

    Attributes:
        job: what was written.
        servers: who has which key.
        options: sizes, compression.
        doing: what is being done, for messages.
    """

    job: WriteJob
    servers: Servers
    options: RedisOptions
    doing: str
    _verdicts: dict[str, Chunk | None] = field(default_factory=dict)  # what becomes of old chunks
    _seen: set[str] = field(default_factory=set)  # chunks that were the table's, or were to be

    def run(self, results: Sequence[WriteResult]) -> None:
        """Switch the table's index to what it is with the job's rows, then delete what it was.

        Raises:
            SchemaError: a key was written twice, or the table's columns are others by now. Nothing of
                the table has changed.
            StoreError: a chunk is gone, or other jobs switch the index all the time.
        """
        job = self.job
        new, written = from_items(item for result in results for item in result.keys)
        rows = sum(result.rows for result in results)
        if not sum(chunk.rows for chunk in new) == len(written) == rows:
            raise SchemaError(
                f"{self.doing}: the results name {len(written)} keys for {rows} rows; nothing was "
                f"changed"
            )
        self._check_distinct(written)
        self._check_there(new)
        _, index = self._switch(new, written)
        wait = self.options.wait_replicas
        if wait:
            timeout = self.options.timeout_seconds
            reached = await_replicas(self.servers, job.table, wait, timeout)
            check_reached(reached, wait, timeout, self.doing)
        if job.options.mode is WriteMode.OVERWRITE:
            saved.replace(self.servers, job.table, index.schema)
        else:
            saved.extend(self.servers, job)
        deleted = self._delete(index)
        log.info(
            "%s: %d rows in %d chunks, %d old keys deleted", self.doing, rows, len(new), deleted
        )

    def remove(self, names: pa.Array) -> int:
        """Take the rows with these encoded keys out of the table; return how many there were."""
        before, after = self._switch([], pa.chunked_array([names]))
        self._delete(after)
        return 0 if before is None else before.rows - after.rows

    def _check_distinct(self, written: pa.ChunkedArray) -> None:
        distinct = pc.count_distinct(written).as_py()
        if distinct == len(written):
            return
        counts = pc.value_counts(written)
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        raise SchemaError(
            f"{self.doing}: {len(twice)} keys were written more than once, such as "
            f"{twice[0].as_py()!r}; drop the duplicates, as there is no telling which row should win. "
            f"Nothing was changed"
        )

    def _check_there(self, new: Sequence[Chunk]) -> None:
        """Raise StoreError where a chunk is not what was written: evicted, or lost in a failover."""
        with Links(self.servers, self.doing) as links:
            found = lengths(self.job.table, new, self.servers, links, self.doing)
        lost = [chunk for chunk in new if found[chunk.key(self.job.table)] != chunk.size]
        if lost:
            raise StoreError(
                f"{self.doing}: {len(lost)} of {len(new)} chunks that were written are gone, such as "
                f"{lost[0].key(self.job.table)!r}; nothing was changed, write again"
            )

    def _switch(self, new: Sequence[Chunk], written: pa.ChunkedArray) -> tuple[Index | None, Index]:
        """Put the new chunks into the index; return what it was, and what it is then."""
        names = {chunk.name for chunk in new}
        for _ in range(_ATTEMPTS):
            before = load(self.servers, self.job.table)
            if before is not None:
                if names and names <= before.chunks.keys():
                    return before, before  # an earlier attempt, or commit, whose answer was lost
                self._seen |= before.chunks.keys()
            try:
                after = self._after(before, new, written)
            except PlanExpiredError:  # another job has switched the index meanwhile
                continue
            if swap(self.servers, self.job.table, before, after):
                return before, after
        raise StoreError(
            f"{self.doing}: other jobs change the table all the time; nothing was changed, write again"
        )

    def _after(self, before: Index | None, new: Sequence[Chunk], written: pa.ChunkedArray) -> Index:
        job = self.job
        if before is None or job.options.mode is WriteMode.OVERWRITE:
            return Index.of(saved.schema_of(job), new)
        add = job.options.evolution is SchemaEvolution.ADD
        schema = check_append(job.table, before.schema, saved.schema_of(job), job.key, add=add)
        unknown = [chunk for name, chunk in before.chunks.items() if name not in self._verdicts]
        if len(written):
            with Links(self.servers, self.doing) as links:
                self._judge(unknown, written, links)
        kept = (self._verdicts.get(name, chunk) for name, chunk in before.chunks.items())
        return Index.of(schema, [*filter(None, kept), *new])

    def _judge(self, chunks: Sequence[Chunk], written: pa.ChunkedArray, links: Links) -> None:
        """Find out which chunks hold rows that were written anew, and write those without them.

        A chunk never changes, so the verdict on it holds for every further attempt.
        """
        reader = ChunkReader(self.job.table, self.servers, links, self.doing)
        keep: dict[str, pa.Array] = {}
        for chunk, kept in self._looked_up(reader, chunks, written):
            if not pc.any(kept).as_py():
                self._verdicts[chunk.name] = None
            elif pc.all(kept).as_py():
                self._verdicts[chunk.name] = chunk
            else:
                keep[chunk.name] = kept
        if keep:
            halved = [chunk for chunk in chunks if chunk.name in keep]
            self._verdicts |= self._rewritten(reader, halved, keep)

    def _rewritten(
        self, reader: ChunkReader, chunks: Sequence[Chunk], keep: Mapping[str, pa.Array]
    ) -> dict[str, Chunk]:
        """Chunks with those rows alone that are to be kept, by the names of the old ones."""
        found: dict[str, Chunk] = {}
        with Links(self.servers, self.doing) as links:
            writer = ChunkWriter(
                self.job.table, self.job.id, self.servers, links, self.options, self.doing
            )
            try:
                for chunk, batch in reader.batches(chunks):
                    found[chunk.name] = writer.write(batch.filter(keep[chunk.name]))
                writer.drain()
                if self.options.wait_replicas:
                    writer.await_replicas()
            finally:
                self._seen |= {chunk.name for chunk in writer.chunks}
        return found

    def _looked_up(
        self, reader: ChunkReader, chunks: Sequence[Chunk], written: pa.ChunkedArray
    ) -> Iterator[tuple[Chunk, pa.Array]]:
        """Each chunk, and which of its rows have keys that were not written."""
        key = self.job.key
        held: list[tuple[Chunk, pa.Array]] = []
        rows = 0
        for chunk, batch in reader.batches(chunks, key):
            held.append((chunk, encode_keys([batch.column(name) for name in key], key)))
            rows += chunk.rows
            if rows >= max(_LOOKUP_ROWS, len(written)):
                yield from _kept(held, written)
                held, rows = [], 0
        yield from _kept(held, written)

    def _delete(self, index: Index) -> int:
        """Delete the chunks that were the table's; of an overwritten one, all other keys too.

        What a running job may have written is left alone: it does not know yet that it came second.
        """
        table = self.job.table
        prefix = Keyspace.of_table(table).prefix
        gone = [prefix + name.encode() for name in self._seen - index.chunks.keys()]
        rows = self.options.max_pipeline_size
        deleted = 0
        if gone:
            was = [pa.array(gone, pa.binary())]
            deleted = delete_keys(table, was, self.servers, self.doing, rows)
        if self.job.options.mode is WriteMode.OVERWRITE:
            pages = self._strange(Keyspace.of_table(table), index)
            deleted += delete_keys(table, pages, self.servers, self.doing, rows)
        return deleted

    def _strange(self, keyspace: Keyspace, index: Index) -> Iterator[pa.Array]:
        """Keys under the table's prefix that are neither chunks of it nor perhaps will be."""
        listed = pa.array([name.encode() for name in index.chunks], pa.binary())
        with Links(self.servers, self.doing) as links:
            everything = whole(self.servers, keyspace)
            pages = partition_keys(
                everything, keyspace, self.servers, links, self.options, self.doing
            )
            for keys in pages:
                names = keyspace.names(keys)
                own = pc.or_(pc.is_in(names, value_set=listed), fresh(names, time.time()))
                yield keys.filter(pc.invert(own))


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
