"""Scanning partitions over the columnar wire: node by node, page by page, also where nodes fail."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from connector.aerospike.patience import Patience
from connector.aerospike.results import NOT_FOUND, OK, error_of
from connector.aerospike.wire.messages import Request
from connector.aerospike.wire.nodes import Address, Owners
from connector.aerospike.wire.records import Records, parse_records
from connector.aerospike.wire.sockets import Buffer, Sockets
from connector.errors import StoreError, StoreTimeoutError, StoreUnavailableError

Rest = dict[int, bytes | None]
"""The partitions that are still to be read, each with the digest of the last record that was, if any."""


@dataclass
class Cluster:
    """The nodes, as far as this process knows them.

    Attributes:
        ask: asks them who owns what.
        sockets: connections to them.
    """

    ask: Callable[[], Owners]
    sockets: Sockets
    _owners: Owners | None = field(default=None, init=False)

    @property
    def owners(self) -> Owners:
        """Who owned what when it was last asked for."""
        if self._owners is None:
            self._owners = self.ask()
        return self._owners

    def forget(self) -> None:
        """Have it asked for again, and connect anew."""
        self._owners = None
        self.sockets.close()


@dataclass(frozen=True)
class WireScan:
    """A scan of some partitions after others; what it received is overwritten by what comes next.

    Attributes:
        cluster: the nodes.
        request: what each is asked for.
        names: the bins wanted of the records that come.
        doing: what is being done, for messages.
        patience_seconds: how long no node may make progress before the scan is given up.
    """

    cluster: Cluster
    request: Request
    names: tuple[str, ...]
    doing: str
    patience_seconds: float
    _buffer: Buffer = field(default_factory=Buffer, init=False, repr=False, compare=False)

    def pages(self, rest: Rest, most: Callable[[], int | None]) -> Iterator[Records]:
        """All records of some partitions, each once; those of a page are of one node.

        Args:
            rest: the partitions; empty when all is read.
            most: how many records to ask for next; None for all.

        Yields:
            Records, valid until the next are asked for.

        Raises:
            StoreError: a node refused, or failed for too long.
        """
        patience = Patience(self.patience_seconds)
        while rest:
            try:
                records = self._page(rest, most())
            except (StoreUnavailableError, StoreTimeoutError):
                if not patience.wait():
                    raise
                self.cluster.forget()
                continue
            patience.renew()
            yield records

    def _page(self, rest: Rest, most: int | None) -> Records:
        """The next records of one node; what was read is taken off the rest.

        The rest is left as it was where this fails: what had come of the page is asked for again.
        """
        address, asked = self._share(rest)
        frame = self.request.packed(secrets.randbits(64), asked, most)
        buffer = self._buffer
        node = f"node {address[0]}:{address[1]}"
        try:
            result = self.cluster.sockets.ask(address, frame, buffer)
            records = parse_records(buffer.data, buffer.size, self.names)
        except TimeoutError as error:
            raise StoreTimeoutError(f"{self.doing}: {node} does not answer") from error
        except OSError as error:
            raise StoreUnavailableError(f"{self.doing}: {node}: {error}") from error
        except StoreError as error:
            raise type(error)(f"{self.doing}: {node}: {error}") from error
        if result not in (OK, NOT_FOUND):  # old servers do not find a set without records
            raise error_of(result)(f"{self.doing}: {node} failed (code {result})")
        if not len(records) and records.failed.keys() >= asked.keys():
            partition, code = next(iter(records.failed.items()))
            raise error_of(code)(
                f"{self.doing}: {node} cannot read partition {partition} (code {code})"
            )
        whole = most is None or len(records) < most
        _advance(rest, asked, records, whole=whole)
        return records

    def _share(self, rest: Rest) -> tuple[Address, Rest]:
        """The node of the first partition, and all the partitions that are its."""
        try:
            owners, first = self.cluster.owners, next(iter(rest))
        except StoreError as error:
            raise type(error)(f"{self.doing}: {error}") from error
        address = owners.of(first)
        if address is None:
            raise StoreUnavailableError(f"{self.doing}: no node has partition {first}")
        return address, {pid: last for pid, last in rest.items() if owners.of(pid) == address}


def _advance(rest: Rest, asked: Rest, records: Records, *, whole: bool) -> None:
    """Take off the rest what was read.

    That is all that was asked for, but for partitions that failed; or, of a page that is not the last,
    what comes before each partition's last record.
    """
    left = records.failed.keys() & asked.keys() if whole else asked.keys()
    if left:
        # Of a partition that occurs several times, the last stays.
        last = dict(zip(records.partitions().tolist(), range(len(records)), strict=True))
        for pid in left & last.keys():
            rest[pid] = records.digest(last[pid])
    for pid in asked.keys() - left:
        del rest[pid]
