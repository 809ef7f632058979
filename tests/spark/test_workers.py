"""What Spark's Python workers are spared."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import SparkSession

IMPORTED = 20_000
"""So many objects come with PySpark, PyArrow and us at least."""


def test_collections_pass_over_what_a_worker_has_imported(spark: SparkSession) -> None:
    seen: Counter[int] = Counter()
    while 2 not in seen.values():  # Spark may take one of several workers for a task
        ((worker, frozen),) = (
            spark.range(1).coalesce(1).mapInArrow(_look(), "w long, f long").collect()
        )
        assert not seen[worker] or frozen > IMPORTED
        seen[worker] += 1


def _look() -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function that Spark pickles by value, as its workers do not have this module."""

    def look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import gc
        import os

        import spark_ext  # noqa: F401

        assert sum(batch.num_rows for batch in batches) == 1
        yield pa.record_batch({"w": [os.getpid()], "f": [gc.get_freeze_count()]})

    return look


def test_no_other_process_is_touched() -> None:
    assert not [each for each in gc.callbacks if type(each).__module__.startswith("spark_ext")]


def test_only_new_modules_make_a_collection_freeze_what_it_finds() -> None:
    code = (
        "import gc, sys\n"
        "from importlib.machinery import ModuleSpec\n"
        "sys.modules['__main__'].__spec__ = ModuleSpec('pyspark.daemon', None)\n"
        "import spark_ext\n"
        "def frozen():\n"
        "    gc.collect()\n"
        "    return gc.get_freeze_count()\n"
        "first, kept = frozen(), [[] for _ in range(1000)]\n"
        "again = frozen()\n"
        "import wave\n"
        "print(first, again, frozen())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, again, more = map(int, done.stdout.split())
    assert first == again > IMPORTED
    assert more > first + 1000
