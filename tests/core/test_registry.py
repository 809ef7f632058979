"""Which store serves a URL, and what is said when none does."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from connector import MemoryStore, MissingDependencyError, OptionError, open_store, registry
from connector.registry import store_class


def test_memory() -> None:
    with open_store("memory://name") as store:
        assert isinstance(store, MemoryStore)
        assert store.location == "memory://name"


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_redis(scheme: str) -> None:
    assert store_class(scheme).__name__ == "RedisStore"


def test_an_unknown_scheme() -> None:
    with pytest.raises(
        OptionError, match="no store serves oracle:// URLs; known are aerospike, memory, redis"
    ):
        open_store("oracle://localhost")


def test_no_url_at_all() -> None:
    with pytest.raises(OptionError, match="looks like redis://host:port/db"):
        open_store("localhost:6379")


def test_an_unknown_option() -> None:
    with pytest.raises(OptionError, match="unknown option 'speed'"):
        open_store("memory://", speed=3)


def test_a_missing_client_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_redis(module: str) -> object:
        if module.startswith("connector.redis"):
            raise ModuleNotFoundError("No module named 'redis'", name="redis")
        return importlib.import_module(module)

    monkeypatch.setattr(registry.importlib, "import_module", without_redis)
    with pytest.raises(MissingDependencyError, match=r"'redis': pip install 'kvlake\[redis\]'"):
        store_class("redis")


def test_other_packages_name_their_stores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other_store.py").write_text(
        "from connector import MemoryStore\nclass OtherStore(MemoryStore): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = EntryPoint("other", "other_store:OtherStore", registry.ENTRY_POINTS)

    def entry_points(**asked: str) -> EntryPoints:
        return EntryPoints([found]).select(**asked)

    monkeypatch.setattr(registry, "entry_points", entry_points)
    with open_store("other://") as store:
        assert type(store).__name__ == "OtherStore"
    del sys.modules["other_store"]
