"""Sealed shards in tf.data: the same batches, order and tokens as in PyTorch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from connector.errors import MissingDependencyError, OptionError, SchemaError
from loaders.convert import Form, Ragged, item_type
from loaders.epochs import Epochs
from loaders.layout import Apart, Buffer
from loaders.mixture import Mixture
from loaders.order import Shuffle
from loaders.place import Last, Place
from loaders.reading import Reading
from loaders.shards import ShardedSource
from loaders.shared_epoch import CELLS, Readers, SharedEpoch

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        "TensorBatches needs TensorFlow: pip install 'kvlake[tensorflow]'"
    ) from error


class TensorBatches(tf.train.experimental.PythonState):  # type: ignore[misc]
    """The epochs of sealed shards as tf.data pipelines.

    A ``tf.train.Checkpoint`` that has it as an attribute saves and restores its place.

    Args:
        shards: from ``seal``, or a Mixture; the same on every rank.
        batch_size: see SourceDataset, as all that follow.
        shuffle: the order.
        seed: of the order.
        shuffle_rows: of the order.
        last: what becomes of rows that do not fill the last step of all ranks. With ``pad`` and ``drop``
            the batches' first dimension is static.
        columns: names of the columns wanted, in order; None for all.
        ranks: this process's rank, and how many there are.

    Attributes:
        consumed: batches that the training loop has taken of the latest ``to_dataset``. ``taken`` counts
            them; other loops, such as Keras's, set it themselves before a checkpoint.

    Raises:
        OptionError: an argument is out of range.
        SchemaError: there is no such column, or its type has no tensor.
    """

    def __init__(
        self,
        shards: ShardedSource | Mixture,
        *,
        batch_size: int,
        shuffle: Shuffle = "none",
        seed: int = 0,
        shuffle_rows: int = 2**18,
        last: Last = "uneven",
        columns: Sequence[str] | None = None,
        ranks: tuple[int, int] = (0, 1),
    ) -> None:
        self._epochs = Epochs.of(
            shards,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            shuffle_rows=shuffle_rows,
            last=last,
            columns=columns,
        )
        self._schema = shards.chosen(columns)
        self._place = Place(*ranks)
        self._shared = SharedEpoch(np.zeros(CELLS, np.int64))
        self.consumed = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next ``to_dataset``; a place that was loaded is kept if it is in it."""
        if epoch < 0:
            raise OptionError(f"an epoch must be 0 or more, got {epoch}")
        self._shared.choose(epoch)
        self.consumed = 0

    @property
    def epoch(self) -> int:
        """The epoch that is going on, or comes next."""
        return self._shared.began[0]

    def to_dataset(self) -> tf.data.Dataset:
        """The batches of the epoch, or of what is left of it where it is resumed.

        Elements are dicts: column name to tensor, of shape (rows, ...); lists of different lengths are
        ``tf.RaggedTensor``, text is ``tf.string``. Iterated again, it gives the same batches again.
        """
        epoch, first = self._shared.take()
        self._shared.begin(epoch, first, Readers.PARENT)
        self.consumed = 0
        reading = self._latest
        batches = tf.data.Dataset.from_generator(
            lambda: self._batches(reading), output_signature=self._signature()
        )
        count = reading.steps.batches(reading.place.rank)
        return batches.apply(tf.data.experimental.assert_cardinality(count))

    def taken(self, dataset: tf.data.Dataset) -> Iterator[Any]:
        """The elements of what was made of ``to_dataset``, such as by ``prefetch``, one a batch; counted."""
        for element in dataset:
            self.consumed += 1
            yield element

    def token(self) -> dict[str, Any]:
        """The token after the batches consumed; plain values, good for any number of ranks."""
        return self._epochs.token_after(self._latest, self.consumed).to_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next ``to_dataset`` go on where a token says, also one of SourceDataset.

        Raises:
            TokenMismatchError: it is of other data, or of another transform or order.
        """
        token = self._epochs.resumed(state)
        self._shared.resume(token.epoch, token.position)
        self.consumed = 0

    def serialize(self) -> str:
        """What a checkpoint keeps."""
        return json.dumps(self.token())

    def deserialize(self, string_value: bytes) -> None:
        """Take what a checkpoint kept."""
        self.load_state_dict(json.loads(string_value))

    @property
    def _latest(self) -> Reading:
        return self._epochs.reading(*self._shared.began, self._place)

    def _batches(self, reading: Reading) -> Iterator[dict[str, Any]]:
        layout = self._epochs.layout
        for buffer, apart, rows in self._epochs.batches(replace(reading), _buffer):
            arrays = layout.arrays(buffer, rows)
            yield {
                name: _tensor(name, apart[name]) if name in apart else arrays[name]
                for name in layout.columns
            }

    def _signature(self) -> dict[str, Any]:
        full = self._epochs.last != "uneven"
        rows = self._epochs.batch_size if full else None
        forms = self._epochs.layout.apart
        return {item.name: _spec(item, forms.get(item.name), rows) for item in self._schema}


def to_dataset(shards: ShardedSource | Mixture, **options: Any) -> tf.data.Dataset:
    """The first epoch as a tf.data pipeline; the options are those of TensorBatches."""
    return TensorBatches(shards, **options).to_dataset()


def _buffer(size: int) -> tuple[Buffer, Buffer]:
    buffer = np.empty(size, np.uint8)
    return buffer, buffer


def _spec(item: pa.Field, form: Form | None, rows: int | None) -> Any:
    if form is Form.OBJECTS:
        if pa.types.is_nested(item.type):
            return tf.RaggedTensorSpec((rows, None), tf.string, 1, tf.int64)
        return tf.TensorSpec((rows,), tf.string)
    kind = item.type.value_type if form is Form.RAGGED else item.type
    number, shape = item_type(item.name, kind)
    if form is Form.RAGGED:
        return tf.RaggedTensorSpec((rows, None, *shape), tf.as_dtype(number), 1, tf.int64)
    return tf.TensorSpec((rows, *shape), tf.as_dtype(number))


def _tensor(name: str, column: Apart) -> Any:
    if isinstance(column, Ragged):
        return tf.RaggedTensor.from_row_splits(column.values, column.offsets, validate=False)
    if column and isinstance(next((each for each in column if each is not None), None), list):
        if None in column:
            raise _null(name)
        ends = itertools.accumulate(map(len, column), initial=0)
        values = _texts(name, [text for texts in column for text in texts])
        return tf.RaggedTensor.from_row_splits(values, [*ends], validate=False)
    return _texts(name, column)


def _texts(name: str, texts: list[Any]) -> Any:
    if None in texts:
        raise _null(name)
    return tf.constant(texts, tf.string, (len(texts),))


def _null(name: str) -> SchemaError:
    return SchemaError(
        f"column {name!r} has nulls, and TensorFlow's text has none; fill them in the transform, e.g. by "
        f"pyarrow.compute.fill_null"
    )
