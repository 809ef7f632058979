"""Encoded images as pixels: once, by the transform of a seal, or each time a batch is read."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from connector.errors import MissingDependencyError, OptionError, SchemaError
from loaders.convert import column_of

try:
    from PIL import Image, UnidentifiedImageError
except ModuleNotFoundError as error:
    raise MissingDependencyError("images need Pillow: pip install 'kvlake[images]'") from error

_MODES = {1: "L", 3: "RGB"}
_REFUSALS = (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)
"""What Pillow raises for an image that is broken, or has too many pixels; by its format."""


def decoded(
    batch: pa.RecordBatch, column: str, height: int, width: int, channels: int = 3
) -> pa.RecordBatch:
    """The batch with a column of encoded images as their pixels; for ``Transform`` and LiveDataset.

    The column becomes lists of fixed sizes, [height][width][channels] of uint8, which datasets give as
    tensors of shape (rows, height, width, channels). For what becomes of an image, see ``pixels``.

    Raises:
        SchemaError: there is no such column, it is not of bytes, it has a null, or an image that Pillow
            does not read.
        OptionError: a size is less than 1, or ``channels`` neither 1 nor 3.
    """
    images = _encoded(batch, column).to_pylist()
    values = pa.array(_pixels(images, height, width, channels, f"column {column!r}").reshape(-1))
    for size in (channels, width, height):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return batch.set_column(batch.schema.get_field_index(column), column, values)


def pixels(
    images: Sequence[bytes], height: int, width: int, channels: int = 3
) -> NDArray[np.uint8]:
    """Encoded images (JPEG, PNG, whatever Pillow reads) as one array.

    An image of another size is resized, whatever its proportions, with Pillow's bilinear filter over
    all pixels that it covers; a JPEG of twice the size or more is decoded at a half, a quarter or an
    eighth of its own size, but to no less than the one wanted. Transparency is dropped, of an
    animation the first picture is taken, and pixels stay where they are stored: EXIF's orientation is
    not applied.

    Args:
        images: the bytes of each image's file.
        height: rows of pixels wanted.
        width: pixels wanted in a row.
        channels: 3 for red, green and blue, 1 for grey.

    Returns:
        Shape (images, height, width, channels).

    Raises:
        SchemaError: Pillow does not read an image, or it has more than 8 bits a channel.
        OptionError: a size is less than 1, or ``channels`` neither 1 nor 3.
    """
    return _pixels(images, height, width, channels, "images")


def _pixels(
    images: Sequence[bytes | None], height: int, width: int, channels: int, where: str
) -> NDArray[np.uint8]:
    if height < 1 or width < 1 or channels not in _MODES:
        raise OptionError(
            f"{where}: height ({height}) and width ({width}) must be at least 1, and channels "
            f"({channels}) 1 or 3"
        )
    found = np.empty((len(images), height, width, channels), np.uint8)
    for row, data in enumerate(images):
        try:
            image = _image(data, _MODES[channels], (width, height))
        except UnidentifiedImageError as error:  # its message is of a file at some address
            raise SchemaError(f"{where}, row {row}: Pillow knows no such format") from error
        except _REFUSALS as error:
            raise SchemaError(f"{where}, row {row}: {error}") from error
        found[row] = np.asarray(image).reshape(height, width, channels)
    return found


def _image(data: bytes | None, mode: str, size: tuple[int, int]) -> Image.Image:
    if data is None:
        raise ValueError("a null is no image; drop such rows, or fill them, before")
    with Image.open(io.BytesIO(data)) as image:
        draft = image.draft(mode, size)  # nothing but for JPEG
        image.load()
    if image.mode.startswith(("I", "F")):  # Pillow would cut their values off at 255
        raise ValueError(f"its pixels of mode {image.mode} have more than 8 bits a channel")
    image.info.pop("transparency", None)  # of a palette's colours; converting would warn of it
    converted: Image.Image = image if image.mode == mode else image.convert(mode)
    # The whole image lies in the draft's box: a draft's size is rounded up.
    box = draft[1] if draft else None
    return converted.resize(size, Image.Resampling.BILINEAR, box=box)


def _encoded(batch: pa.RecordBatch, column: str) -> pa.Array:
    values = column_of(batch, column)
    kind = values.type
    if not (pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind)):
        raise SchemaError(f"column {column!r} of type {kind} has no bytes of images")
    return values
