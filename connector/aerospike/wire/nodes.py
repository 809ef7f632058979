"""Which node has which partition of a namespace, as the nodes themselves say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from connector.aerospike.partitions import PARTITIONS
from connector.errors import StoreError

Address: TypeAlias = tuple[str, int]

_NOBODY = -1


@dataclass(frozen=True)
class Owners:
    """The nodes, and of each partition which of them is its master.

    Attributes:
        addresses: where the nodes listen.
        masters: of each partition the place of its master among the addresses; shape (4096,).
    """

    addresses: tuple[Address, ...]
    masters: tuple[int, ...]

    def of(self, partition: int) -> Address | None:
        """The node that a partition is read from; None where nobody has it."""
        place = self.masters[partition]
        return None if place == _NOBODY else self.addresses[place]


def owners(namespace: str, answers: Mapping[Address, str]) -> Owners:
    """Who owns what.

    Args:
        namespace: whose partitions.
        answers: what each node says of ``replicas``: for each namespace ``name:regime,copies,masters,...``,
            the masters being a bit for each partition, base64. Of two that both say they are the master
            of one, that of the higher regime is.

    Raises:
        StoreError: an answer is none of these.
    """
    masters = np.full(PARTITIONS, _NOBODY)
    newest = np.full(PARTITIONS, -1)
    for place, (address, answer) in enumerate(answers.items()):
        for regime, owned in _claims(namespace, address, answer):
            won = owned & (regime > newest)
            masters[won], newest[won] = place, regime
    return Owners(tuple(answers), tuple(masters.tolist()))


def _claims(namespace: str, address: Address, answer: str) -> list[tuple[int, Any]]:
    """The regime and the partitions of a node; nothing where it does not have the namespace."""
    for entry in answer.strip().split(";"):
        name, _, told = entry.partition(":")
        if name != namespace:
            continue
        try:
            regime, _, bits, *_ = told.split(",")
            owned = np.unpackbits(np.frombuffer(base64.b64decode(bits, validate=True), np.uint8))
            if len(owned) == PARTITIONS:
                return [(int(regime), owned.astype(np.bool_))]
        except (ValueError, binascii.Error):
            pass
        raise StoreError(f"node {address[0]}:{address[1]} says {entry[:80]!r} of its partitions")
    return []
