"""Resume tokens: which row of which epoch of which data comes next, as plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from connector.errors import TokenMismatchError

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Token:
    """A place in the order of an epoch, for any number of ranks and workers.

    Attributes:
        data: digest of the manifest: of the rows, the transform and the format.
        shuffle: see loaders.order, as the next two.
        seed: of the order.
        shuffle_rows: of the order.
        epoch: number of the epoch.
        position: how many rows of it are taken.
    """

    data: str
    shuffle: str
    seed: int
    shuffle_rows: int
    epoch: int
    position: int

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"kvlake": _FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Token:
        """The opposite of ``to_dict``; other names are passed over.

        Raises:
            TokenMismatchError: these are not the values of a token.
        """
        found: dict[str, Any] = {item.name: given.get(item.name) for item in fields(cls)}
        texts = [found["data"], found["shuffle"]]
        numbers = [found[name] for name in ("seed", "shuffle_rows", "epoch", "position")]
        right = all(isinstance(each, str) for each in texts) and all(
            isinstance(each, int) and each >= 0 for each in numbers
        )
        if given.get("kvlake") != _FORMAT or not right:
            raise TokenMismatchError(
                "this is no resume token of SourceDataset: it must be what state_dict or token_at returned"
            )
        return cls(**found)

    def check(self, own: Token, rows: int) -> None:
        """Refuse to go on where another order, or other rows, would make rows repeat or be missed.

        Args:
            own: any token of the dataset that is to go on.
            rows: of its epoch.

        Raises:
            TokenMismatchError: the token is not of this dataset.
        """
        if self.data != own.data:
            raise TokenMismatchError(
                f"the token is of other shards ({self.data[:12]}) than these ({own.data[:12]}): the data, "
                f"its version, its split or the transform changed; resume with those, or start the epoch anew"
            )
        for name in ("shuffle", "seed", "shuffle_rows"):
            then, now = getattr(self, name), getattr(own, name)
            if then != now:
                raise TokenMismatchError(
                    f"the token is of an epoch with {name}={then!r}, and this dataset has {now!r}: the rows "
                    f"would stand in another order; resume with {name}={then!r}"
                )
        if self.position > rows:
            raise TokenMismatchError(
                f"the token's position {self.position} lies behind the epoch's {rows} rows"
            )
