"""Messages of the wire protocol as far as scans need them: requests packed, frames told apart.

A frame is 8 bytes (version, type, size of what follows) and messages. A message is a header of 22 bytes,
then fields, then operations on bins: in a request what to read, in a reply a record. All numbers are
big-endian but the numbers of partitions. After the server's ``as/include/base/proto.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connector.errors import StoreError

FRAME_BYTES = 8
HEADER_BYTES = 22
DIGEST_BYTES = 20
DIGEST_FIELD, SET_FIELD, KEY_FIELD = 4, 1, 2

LAST, PARTITION_DONE = 0x01, 0x04
"""Flags of a message that ends a reply, and of one that tells of a partition."""

_VERSION, _DATA = 2, 3
_NAMESPACE, _QUERY_ID, _SOCKET_TIMEOUT = 0, 7, 9
_RECORDS_PER_SECOND, _PARTITIONS, _DIGESTS, _MOST_RECORDS, _FILTER = 10, 11, 12, 13, 43
_READ, _NO_BINS, _RESPOND_ALL, _READ_BIN = 0x01, 0x20, 0x80, 1
_HEADER = struct.Struct(">BBBBBBIIIHH")
_NEVER = 0xFFFFFFFF
_MOST_FRAME = (
    128 << 20
)  # bytes; the server sends some 128 KiB at a time, and a record may be larger


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one node is asked for.

    Attributes:
        namespace: of the records.
        set: of the records.
        bins: the bins to send; none for all.
        every_record: whether records that have none of these bins are sent too.
        no_bins: whether records come without bins.
        condition: of which records: a packed expression; None for all.
        records_per_second: most records a second; None for any number.
        timeout_ms: how long the node may wait for us to take what it sends.
    """

    namespace: str
    set: str
    bins: Sequence[str] = ()
    every_record: bool = False
    no_bins: bool = False
    condition: bytes | None = None
    records_per_second: int | None = None
    timeout_ms: int

    def packed(self, query: int, rest: Mapping[int, bytes | None], most: int | None) -> bytes:
        """The frame that asks for records.

        Args:
            query: a number that no other query has.
            rest: the partitions, each with the digest that its records are wanted behind, if any.
            most: how many records at most; None for all.
        """
        whole = [pid for pid, digest in rest.items() if digest is None]
        digests = [digest for digest in rest.values() if digest is not None]
        fields = [
            _field(_NAMESPACE, self.namespace.encode()),
            _field(SET_FIELD, self.set.encode()),
            _field(_SOCKET_TIMEOUT, struct.pack(">I", self.timeout_ms)),
            _field(_QUERY_ID, struct.pack(">Q", query)),
        ]
        if self.condition is not None:
            fields.append(_field(_FILTER, self.condition))
        if whole:
            fields.append(_field(_PARTITIONS, struct.pack(f"<{len(whole)}H", *whole)))
        if digests:
            fields.append(_field(_DIGESTS, b"".join(digests)))
        if most is not None:
            fields.append(_field(_MOST_RECORDS, struct.pack(">Q", most)))
        if self.records_per_second is not None:
            fields.append(_field(_RECORDS_PER_SECOND, struct.pack(">I", self.records_per_second)))
        header = _HEADER.pack(
            HEADER_BYTES,
            _READ | (_NO_BINS if self.no_bins else 0),
            _RESPOND_ALL if self.every_record else 0,
            PARTITION_DONE,
            0,
            0,
            0,
            _NEVER,
            0,
            len(fields),
            len(self.bins),
        )
        body = b"".join([header, *fields, *map(_reading, self.bins)])
        return (_VERSION << 56 | _DATA << 48 | len(body)).to_bytes(FRAME_BYTES, "big") + body


def frame_size(head: bytes | memoryview) -> int:
    """How many bytes of messages follow the first 8 of a frame.

    Raises:
        StoreError: it is no frame of messages.
    """
    word = int.from_bytes(head, "big")
    size = word & 0xFFFFFFFFFFFF
    if word >> 48 != _VERSION << 8 | _DATA or not HEADER_BYTES <= size <= _MOST_FRAME:
        raise StoreError(f"the node sent {bytes(head).hex()}, which is no frame of messages")
    return size


def ending(message: bytes | memoryview) -> int | None:
    """The result of a reply that a message of 22 bytes ends; None where it does not."""
    return message[5] if message[3] & LAST else None


def _field(kind: int, value: bytes) -> bytes:
    return struct.pack(">IB", len(value) + 1, kind) + value


def _reading(name: str) -> bytes:
    encoded = name.encode()
    return struct.pack(">IBBBB", 4 + len(encoded), _READ_BIN, 0, 0, len(encoded)) + encoded
