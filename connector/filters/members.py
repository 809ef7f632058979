"""The elements of lists and the keys of maps, whatever is null, sliced or hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

Offsets = npt.NDArray[np.integer[Any]]


def flattened(lists: pa.Array) -> tuple[pa.Array, Offsets]:
    """The elements of all lists, or the keys of all maps, one behind the other.

    Args:
        lists: an array of lists, large lists, lists of a fixed size or maps.

    Returns:
        The elements, and of shape (lists + 1,) where those of each list begin and those of the last one
        end. A null list may have some, too.
    """
    kind = lists.type
    if pt.is_fixed_size_list(kind):
        offsets = np.arange(lists.offset, lists.offset + len(lists) + 1) * kind.list_size
    elif len(lists):
        offsets = lists.offsets.to_numpy()
    else:  # an empty array may have no offsets, which pyarrow does not survive
        offsets = np.zeros(1, np.int64)
    members = lists.keys if pt.is_map(kind) else lists.values
    return members.slice(offsets[0], offsets[-1] - offsets[0]), offsets - offsets[0]


def any_true(found: pa.BooleanArray, offsets: Offsets) -> npt.NDArray[np.bool_]:
    """Whether one of the elements of each list is true, and not null."""
    places = pc.indices_nonzero(found).to_numpy().astype(np.int64)
    return np.diff(np.searchsorted(places, offsets)) > 0
