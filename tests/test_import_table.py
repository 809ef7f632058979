"""Which room may import what: DESIGN.md's table, held against the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = frozenset({"connector", "loaders", "spark_ext"})


@dataclass(frozen=True)
class Room:
    """Modules whose paths begin so, and what they may import beside the standard library.

    Imports of our own are dotted as deep as it takes to tell rooms apart.
    """

    path: str
    may: frozenset[str]


def room(path: str, *may: str) -> Room:
    return Room(path, frozenset(may))


STORES = ("connector.redis", "connector.aerospike")
COLUMNS = ("numpy", "pyarrow")
ROOMS = [  # the first that matches holds
    room(
        "connector/redis/models/packed.py",
        *COLUMNS,
        "connector",
        "connector.redis",
        "redis",
        "msgpack",
    ),
    room("connector/redis/", *COLUMNS, "connector", "connector.redis", "redis", "hiredis"),
    room(
        "connector/aerospike/",
        *COLUMNS,
        "connector",
        "connector.aerospike",
        "aerospike",
        "aerospike_helpers",
    ),
    room("connector/lake/", *COLUMNS, "connector", "fsspec", "deltalake"),
    room("connector/progress.py", *COLUMNS, "connector", "rich"),
    room("connector/rejects.py", *COLUMNS, "connector", "fsspec"),
    room("connector/", *COLUMNS, "connector"),
    room("spark_ext/delta/tables.py", *COLUMNS, "spark_ext", "connector", "pyspark", "py4j"),
    room("spark_ext/discovery/kvlake_startup/", "spark_ext", "py4j"),
    room("spark_ext/pushdown/activation.py", "py4j", "pyspark"),
    room("spark_ext/", *COLUMNS, "spark_ext", "connector", *STORES, "pyspark"),
    room("loaders/pytorch/", *COLUMNS, "loaders", "connector", "fsspec", "torch"),
    room("loaders/cli/", *COLUMNS, "loaders", "connector", "rich"),
    room("loaders/tfdata.py", *COLUMNS, "loaders", "connector", "fsspec", "tensorflow"),
    room("loaders/images.py", *COLUMNS, "connector", "loaders", "PIL"),
    room("loaders/spark.py", *COLUMNS, "loaders", "connector", "fsspec", "pyspark"),
    room("loaders/", *COLUMNS, "loaders", "connector", "fsspec", "xxhash"),
]


def modules() -> list[str]:
    return sorted(
        path.relative_to(ROOT).as_posix() for name in OURS for path in (ROOT / name).rglob("*.py")
    )


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported anywhere in the module, types alone included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def known_as(name: str) -> str:
    """The name by which the table knows an import."""
    for deep in STORES:
        if name == deep or name.startswith(f"{deep}."):
            return deep
    return name.partition(".")[0]


def room_of(path: str) -> Room:
    return next(room for room in ROOMS if path.startswith(room.path))


def wrong_imports(path: str, text: str) -> list[str]:
    used = {known_as(name) for name in imports(ast.parse(text))}
    return sorted(used - room_of(path).may - sys.stdlib_module_names - {"__future__"})


def test_there_is_something_to_look_at() -> None:
    assert "connector/source.py" in modules()


@pytest.mark.parametrize("path", modules())
def test_a_module_imports_what_its_room_may(path: str) -> None:
    assert not wrong_imports(path, (ROOT / path).read_text())


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("connector/store.py", "import pandas.api\nimport json", ["pandas"]),
        (
            "connector/store.py",
            "def f():\n    from connector.redis.store import X",
            ["connector.redis"],
        ),
        ("connector/redis/store.py", "from connector import aerospike", ["connector.aerospike"]),
        ("connector/redis/store.py", "import redis, aerospike", ["aerospike"]),
        ("spark_ext/reader.py", "from loaders.seal import seal", ["loaders"]),
        ("loaders/seal.py", "import torch", ["torch"]),
        ("loaders/seal.py", "import spark_ext.reader", ["spark_ext"]),
        ("loaders/pytorch/dataset.py", "import torch.utils.data", []),
    ],
)
def test_what_the_table_refuses(path: str, text: str, wrong: list[str]) -> None:
    assert wrong_imports(path, text) == wrong


def test_the_core_loads_nothing_heavy() -> None:
    heavy = "redis aerospike pyspark torch tensorflow pandas fsspec"
    script = (
        "import sys, connector, connector.embedded\n"
        f"print(*[name for name in {heavy.split()} if name in sys.modules])"
    )
    found = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert found.strip() == ""
