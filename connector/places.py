"""Where values go that were made of some rows alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def places(present: npt.NDArray[np.bool_]) -> pa.Array:
    """For ``take``: of each row its place among those that are present, null for the others."""
    return pa.array(np.cumsum(present) - 1, mask=~present)
