"""How rows lie under keys of one type: what is asked for, what is written, and how values are spelled."""

from __future__ import annotations

from collections.abc import Callable

from connector.redis.models.hashes import HashModel
from connector.redis.models.model import Model
from connector.redis.options import ModelName, RedisOptions


def build(spec: str) -> Model:
    """The model that a table was written with, from what was saved of it: ``name`` or ``name/variant``.

    Raises:
        ValueError: there is no such model.
    """
    name, _, variant = spec.partition("/")
    return _MODELS[ModelName(name)](variant)


def spec_of(options: RedisOptions, has_json: Callable[[], bool]) -> str | None:
    """What the options ask for, as ``build`` takes it; None where they leave it open.

    Args:
        options: of the store.
        has_json: whether the servers have the commands of RedisJSON; asked only where it counts.
    """
    if options.model is None:
        return None
    return options.model.value


_MODELS: dict[ModelName, Callable[[str], Model]] = {
    ModelName.HASH: lambda variant: HashModel(),
}
