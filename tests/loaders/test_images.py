"""Images: the pixels that Pillow decodes, of one size, when sealing, when reading, and live."""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

import loaders
from connector import OptionError, SchemaError, TableSource
from loaders import LiveDataset, SourceDataset, Transform, seal
from loaders.images import decoded, pixels

HEIGHT, WIDTH = 24, 32
SIZES = {"column": "image", "height": HEIGHT, "width": WIDTH}
DECODED = Transform(decoded, SIZES, version="1")


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A slope of colours that no other number has."""
    y, x = np.mgrid[:height, :width]
    slopes = [x * 255 // width, y * 255 // height, np.full_like(x, number * 9 % 256)]
    return Image.fromarray(np.stack(slopes, -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def values(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


def source(rows: int = 40) -> TableSource:
    images = [encoded(picture(i)) for i in range(rows)]
    return TableSource(pa.table({"id": range(rows), "image": images}), parts=3)


def with_pixels(batch: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    batch["image"] = torch.from_numpy(pixels(batch["image"], height, width))
    return batch


def check(batches: Any, rows: int = 40) -> None:
    """Every picture is there once, with its own pixels."""
    seen = []
    for batch in batches:
        assert batch["image"].shape == (len(batch["id"]), HEIGHT, WIDTH, 3)
        assert batch["image"].dtype == torch.uint8
        for number, found in zip(batch["id"].tolist(), batch["image"]):
            assert np.array_equal(found.numpy(), values(picture(number)))
            seen.append(number)
    assert sorted(seen) == list(range(rows))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_decoded_when_sealed(tmp_path: Path, workers: int) -> None:
    sealed = seal(source(), transform=DECODED, cache=tmp_path, version="1")
    dataset = SourceDataset(sealed, batch_size=16, shuffle="full", seed=1)
    check(DataLoader(dataset, batch_size=None, num_workers=workers))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_decoded_when_read(tmp_path: Path, workers: int) -> None:
    sealed = seal(source(), cache=tmp_path, version="1")
    dataset = SourceDataset(sealed, batch_size=16, shuffle="full", seed=1)
    collate = partial(with_pixels, height=HEIGHT, width=WIDTH)
    check(DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=collate))


def test_decoded_live() -> None:
    check(LiveDataset(source(), batch_size=16, transform=DECODED))


def test_wide_rows_are_gathered_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.layout.BYTES_TOGETHER", 10 * HEIGHT * WIDTH * 3)
    sealed = seal(source(), transform=DECODED, cache=tmp_path, version="1")
    made: list[int] = []

    def counted(size: int) -> tuple[torch.Tensor, NDArray[np.uint8]]:
        made.append(size)
        return torch.empty(0), np.empty(size, np.uint8)

    monkeypatch.setattr("loaders.pytorch.dataset.own_buffer", counted)
    monkeypatch.setattr("loaders.pytorch.dataset.unpacked", lambda *_: {})
    next(iter(SourceDataset(sealed, batch_size=4)))
    assert len(made) == 3  # as many rows as fit, and not the whole epoch


def test_other_sizes_are_resized() -> None:
    large = encoded(picture(7, 100, 90))
    wanted = picture(7, 100, 90).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels([large], HEIGHT, WIDTH)[0], values(wanted))
    small = pixels([encoded(picture(7, 10, 10))], HEIGHT, WIDTH)
    assert small.shape == (1, HEIGHT, WIDTH, 3)
    assert pixels([], HEIGHT, WIDTH).shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("times", [1, 2, 5, 9])
@pytest.mark.parametrize("more", [0, 5])
def test_a_jpeg_decoded_at_a_smaller_scale_is_the_same_picture(times: int, more: int) -> None:
    image = picture(3, HEIGHT * times + more, WIDTH * times + more)
    data = encoded(image, "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as whole:
        wanted = whole.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    found = pixels([data], HEIGHT, WIDTH)[0].astype(int)
    assert np.abs(found - values(wanted)).mean() < 2
    grey = pixels([data], HEIGHT, WIDTH, 1)[0, ..., 0].astype(int)
    assert np.abs(grey - values(wanted.convert("L"))).mean() < 2


@pytest.mark.filterwarnings("error")
def test_every_kind_of_pixel_becomes_colour_or_grey() -> None:
    colours = picture(5)
    transparent = colours.copy()
    transparent.putalpha(100)
    palette = colours.quantize(16)
    some = {
        encoded(transparent): colours,
        encoded(palette, transparency=bytes(range(16))): palette.convert("RGB"),
        encoded(colours.convert("L")): colours.convert("L").convert("RGB"),
        encoded(colours.convert("1")): colours.convert("1").convert("RGB"),
        encoded(colours, "WEBP", lossless=True): colours,
        encoded(colours, "BMP"): colours,
    }
    found = pixels(list(some), HEIGHT, WIDTH)
    for ours, wanted in zip(found, some.values()):
        assert np.array_equal(ours, values(wanted))
    grey = pixels(list(some), HEIGHT, WIDTH, 1)
    assert grey.shape == (len(some), HEIGHT, WIDTH, 1)
    assert np.array_equal(grey[0, ..., 0], values(colours.convert("L")))


def deep() -> bytes:
    return encoded(Image.fromarray(np.full((4, 4), 40_000, np.uint16)))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (None, "a null is no image"),
        (b"", "Pillow knows no such format"),
        (b"rubbish", "Pillow knows no such format"),
        (encoded(picture(1))[:60], ".*runcated"),
        (encoded(picture(1), "JPEG")[:-100], "image file is truncated"),
        (deep(), ".*mode I;16 have more than 8 bits"),
    ],
    ids=["null", "empty", "rubbish", "half a PNG", "half a JPEG", "16 bits"],
)
def test_what_is_no_image_is_named(wrong: bytes | None, reason: str) -> None:
    good = encoded(picture(1))
    batch = pa.record_batch({"image": pa.array([good, good, wrong], pa.binary())})
    with pytest.raises(SchemaError, match=f"column 'image', row 2: {reason}"):
        decoded(batch, **SIZES)
    if wrong is not None:
        with pytest.raises(SchemaError, match=f"images, row 1: {reason}"):
            pixels([good, wrong], HEIGHT, WIDTH)


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SchemaError, match="row 0: .*exceeds limit"):
        pixels([encoded(picture(1))], HEIGHT, WIDTH)


def test_refusals() -> None:
    batch = pa.record_batch({"image": [encoded(picture(1))], "name": ["a"]})
    with pytest.raises(SchemaError, match="no column 'picture'; there are image, name"):
        decoded(batch, **{**SIZES, "column": "picture"})
    with pytest.raises(SchemaError, match="column 'name' of type string has no bytes"):
        decoded(batch, **{**SIZES, "column": "name"})
    for wrong in ({"height": 0}, {"width": -1}, {"channels": 4}):
        with pytest.raises(OptionError, match="must be at least 1, and channels"):
            decoded(batch, **{**SIZES, **wrong})


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_every_type_of_bytes(kind: pa.DataType) -> None:
    data = pa.array([encoded(picture(i)) for i in (1, 1, 2)], pa.binary())
    for column in (data.cast(kind), data.dictionary_encode()):
        batch = pa.record_batch({"image": column}).slice(1)
        (found,) = decoded(batch, **SIZES).columns
        assert found[0].as_py() == values(picture(1)).tolist()
        assert found[1].as_py() == values(picture(2)).tolist()
        assert decoded(batch.slice(0, 0), **SIZES).num_rows == 0


@pytest.mark.skipif(
    not Path(loaders.__file__).is_relative_to(sysconfig.get_path("purelib")),
    reason="a source tree has no version, by which what is imported could be told",
)
def test_the_fingerprint_has_the_sizes() -> None:
    found = Transform(decoded, SIZES).fingerprint
    assert Transform(decoded, {**SIZES, "height": 8}).fingerprint != found


def test_without_pillow() -> None:
    script = (
        "import sys; sys.modules['PIL'] = None\n"
        "from connector import MissingDependencyError\n"
        "try:\n    import loaders.images\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    found = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert "pip install 'kvlake[images]'" in found
