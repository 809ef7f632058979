"""One iteration over an epoch, by one process: what it has yet to do, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.errors import TokenMismatchError
from loaders.place import Place, Steps


@dataclass
class Reading:
    """An iteration.

    Attributes:
        epoch: its number.
        steps: of all ranks.
        place: who reads.
        done: the step behind the last one that was handed out.
    """

    epoch: int
    steps: Steps
    place: Place
    done: int = 0

    @property
    def todo(self) -> range:
        """The steps of this place that are left."""
        return self.steps.of(self.place, self.done)

    def part(self) -> dict[str, Any]:
        """What a worker's state tells beside the token at which its iteration began."""
        return {"step": self.done, **self._circumstances}

    @property
    def _circumstances(self) -> dict[str, Any]:
        """What must be the same for the same steps to have the same rows."""
        place, steps = self.place, self.steps
        return {
            "worker": place.worker,
            "workers": place.workers,
            "ranks": place.world,
            "batch_size": steps.batch_size,
            "last": steps.last,
        }

    def go_on(self, part: Mapping[str, Any]) -> None:
        """Go on behind what a worker's state tells is done.

        Raises:
            TokenMismatchError: it is another worker's, or steps have other rows here.
        """
        for name, here in self._circumstances.items():
            if part.get(name) != here:
                raise TokenMismatchError(
                    f"a worker's state was saved with {name}={part.get(name)!r}, and here it is {here!r}: "
                    f"the states of workers go on where all is as it was; else take a token by token_at"
                )
        self.done = int(part["step"])


def is_part(state: Mapping[str, Any]) -> bool:
    """Whether a state is of one worker, and not a token for all."""
    return "step" in state
