"""How rows lie under keys of one type: what is asked for, what is written, and how values are spelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connector.errors import OptionError, SchemaError
from connector.redis.models.documents import DocumentModel, TextModel
from connector.redis.models.hashes import HashModel
from connector.redis.models.lists import ExplodedListModel, ListModel
from connector.redis.models.model import Model
from connector.redis.models.sets import ExplodedSetModel, SetModel
from connector.redis.models.streams import StreamModel
from connector.redis.models.strings import ObjectModel, StringModel
from connector.redis.models.zsets import ExplodedZsetModel, ZsetModel
from connector.redis.options import ModelName, RedisOptions, ValueCodec


def build(spec: str) -> Model:
    """The model that a table was written with, from what was saved of it: ``name`` or ``name/variant``.

    Raises:
        ValueError: there is no such model.
    """
    name, _, variant = spec.partition("/")
    return _MODELS[ModelName(name)](variant)


def spec_for(
    table: str, options: RedisOptions, noted: str | None, has_json: Callable[[], bool]
) -> str:
    """Which model a table has: the one it was written with, else the one asked for, else hashes.

    Args:
        table: name of the table, for messages.
        options: what is asked for.
        noted: the model that the table was written with; None where that is not known.
        has_json: whether the servers have the commands of RedisJSON; asked only where it counts.

    Raises:
        OptionError: an option is for another model.
        SchemaError: the options ask for another model than the table was written with.
    """
    model, codec = options.model, options.value_codec
    if options.explode and model not in _EXPLODED:
        raise OptionError("option 'explode' needs option 'model' to be list, set or zset")
    if codec is not None and model is not ModelName.STRING:
        raise OptionError("option 'value.codec' needs option 'model' to be string")
    if model is None:
        return noted or ModelName.HASH.value
    variant = codec.value if codec is not None else "exploded" if options.explode else ""
    asked = f"{model.value}/{variant}" if variant else model.value
    if noted is None:
        return _completed(asked, has_json)
    if asked in (noted, noted.partition("/")[0]):
        return noted
    raise SchemaError(
        f"table {table!r} was written with model {noted!r}, and the options ask for {asked!r}; leave "
        f"option 'model' out, or write with mode overwrite"
    )


def _completed(asked: str, has_json: Callable[[], bool]) -> str:
    """What is asked for, with the variant that is meant where none is named."""
    if asked == ModelName.JSON.value:
        return DocumentModel.spec if has_json() else TextModel().spec
    return f"{asked}/{ValueCodec.TEXT.value}" if asked == ModelName.STRING.value else asked


def _string(variant: str) -> Model:
    codec = ValueCodec(variant)
    return (ObjectModel if codec in (ValueCodec.JSON, ValueCodec.MSGPACK) else StringModel)(codec)


def _by_variant(models: Mapping[str, Callable[[], Model]]) -> Callable[[str], Model]:
    return lambda variant: models[variant]()


_EXPLODED = (ModelName.LIST, ModelName.SET, ModelName.ZSET)
_MODELS: dict[ModelName, Callable[[str], Model]] = {
    ModelName.HASH: lambda variant: HashModel(),
    ModelName.STREAM: lambda variant: StreamModel(),
    ModelName.JSON: _by_variant({"redisjson": DocumentModel, "text": TextModel}),
    ModelName.STRING: _string,
    ModelName.LIST: _by_variant({"": ListModel, "exploded": ExplodedListModel}),
    ModelName.SET: _by_variant({"": SetModel, "exploded": ExplodedSetModel}),
    ModelName.ZSET: _by_variant({"": ZsetModel, "exploded": ExplodedZsetModel}),
}
