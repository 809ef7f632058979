"""LakeSource: files of all formats, places and ages, as one table."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from connector import (
    OptionError,
    SchemaError,
    StoreError,
    TableNotFoundError,
    read_all,
)
from connector.filters import column
from connector.lake import LakeSource


def rows(count: int, first: int = 0) -> pa.Table:
    ids = range(first, first + count)
    return pa.table({"id": pa.array(ids, pa.int64()), "x": [i / 2 for i in ids]})


def ids(source: LakeSource) -> list[int]:
    return sorted(read_all(source)["id"].to_pylist())


def test_row_groups_are_divided_evenly(tmp_path: Path) -> None:
    pq.write_table(rows(1000), tmp_path / "a.parquet", row_group_size=50)
    pq.write_table(rows(500, 1000), tmp_path / "b.parquet", row_group_size=500)
    source = LakeSource(str(tmp_path), parts=3)
    plan = source.partitions()
    found = [sum(batch.num_rows for batch in source.read(part)) for part in plan]
    assert found == [500, 500, 500]
    assert read_all(source)["id"].to_pylist() == list(range(1500))
    assert len(LakeSource(str(tmp_path), parts=100).partitions()) == 21


def test_columns_and_filters(tmp_path: Path) -> None:
    pq.write_table(rows(100), tmp_path / "a.parquet", row_group_size=30)
    url = f"{tmp_path}/*.parquet"
    source = LakeSource(url, columns=("x",), filter="id >= 10 AND id < 13", row_key=("id",))
    assert source.key == () and source.with_key().key == ("id",)
    assert read_all(source).to_pydict() == {"x": [5.0, 5.5, 6.0]}
    assert read_all(source.with_key()).column_names == ["x", "id"]
    assert ids(LakeSource(url, filter=column("id").isin([7, 300]))) == [7]
    assert LakeSource(url, filter="id > 1").fingerprint != LakeSource(url).fingerprint
    with pytest.raises(SchemaError, match="no column 'y'; it has id, x"):
        LakeSource(url, columns=("y",)).schema  # noqa: B018


def test_directories_make_columns_and_other_files_are_left_out(tmp_path: Path) -> None:
    for day, place in ((7, "7"), (8, "8"), (None, "__HIVE_DEFAULT_PARTITION__")):
        for city in ("a b", "c"):
            part = tmp_path / f"day={place}" / f"city={city.replace(' ', '%20')}"
            part.mkdir(parents=True)
            pq.write_table(rows(10, 100 * (day or 0)), part / "f.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "day=7" / ".f.parquet.crc").touch()
    source = LakeSource(str(tmp_path), filter="day = 7 AND city = 'a b'")
    assert source.schema.field("day").type == pa.int64()
    found = read_all(source)
    assert found["id"].to_pylist() == list(range(700, 710))
    assert set(found["city"].to_pylist()) == {"a b"}
    assert read_all(LakeSource(str(tmp_path), filter="day IS NULL")).num_rows == 20


def test_files_without_a_column_have_nulls_and_others_must_fit(tmp_path: Path) -> None:
    pq.write_table(rows(3), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": pa.array([3], pa.int32())}), tmp_path / "b.parquet")
    source = LakeSource(str(tmp_path))
    assert read_all(source).to_pydict() == {"id": [0, 1, 2, 3], "x": [0, 0.5, 1, None]}
    pq.write_table(pa.table({"id": ["odd"]}), tmp_path / "c.parquet")
    with pytest.raises(SchemaError, match=r"c\.parquet of the lake: column 'id'"):
        read_all(LakeSource(str(tmp_path)))


def test_the_listing_is_made_once_and_goes_along(tmp_path: Path) -> None:
    pq.write_table(rows(10), tmp_path / "a.parquet")
    source = LakeSource(str(tmp_path))
    before = source.fingerprint
    pq.write_table(rows(10, 10), tmp_path / "b.parquet")
    copy = pickle.loads(pickle.dumps(source))
    assert copy.fingerprint == before
    assert ids(copy) == list(range(10))
    fresh = LakeSource(str(tmp_path))
    assert fresh.fingerprint != before and ids(fresh) == list(range(20))
    later = time.time() + 10
    pq.write_table(rows(10, 20), tmp_path / "a.parquet")
    os.utime(tmp_path / "a.parquet", (later, later))
    assert LakeSource(str(tmp_path)).fingerprint != fresh.fingerprint


def test_any_filesystem_of_fsspec() -> None:
    memory = fsspec.filesystem("memory")
    with memory.open("/lake/t/a.parquet", "wb") as file:
        pq.write_table(rows(10), file)
    try:
        source = LakeSource("memory://lake/t")
        assert ids(source) == list(range(10))
        with memory.open("/lake/t/b.parquet", "wb") as file:
            file.write(b"no Parquet, but long enough to be asked for a footer")
        with pytest.raises(StoreError, match=r"/lake/t/b\.parquet of the lake is damaged"):
            read_all(LakeSource("memory://lake/t"))
        memory.rm("/lake/t/a.parquet")
        with pytest.raises(StoreError, match=r"a\.parquet of the lake cannot be read"):
            read_all(source)
    finally:
        memory.rm("/lake", recursive=True)


def test_delta_versions(tmp_path: Path) -> None:
    place = str(tmp_path / "t")
    parts = pa.table({"id": [1, 2, 3], "p": ["a b", "c/d", None]})
    write_deltalake(place, parts, partition_by=["p"])
    write_deltalake(place, pa.table({"id": [4], "p": ["c/d"]}), mode="append")
    write_deltalake(
        place, pa.table({"id": [5], "p": ["e"], "new": [0.5]}), mode="append", schema_mode="merge"
    )
    DeltaTable(place).delete("id = 2")
    assert ids(LakeSource(place)) == [1, 3, 4, 5]
    assert ids(LakeSource(place, version=1)) == [1, 2, 3, 4]
    assert LakeSource(place, version=1).schema.names == ["id", "p"]
    assert LakeSource(place, version=1).fingerprint != LakeSource(place).fingerprint
    assert LakeSource(place, version=3).fingerprint == LakeSource(place).fingerprint
    found = read_all(LakeSource(place)).sort_by("id").to_pydict()
    assert found == {
        "id": [1, 3, 4, 5],
        "p": ["a b", None, "c/d", "e"],
        "new": [None, None, None, 0.5],
    }
    assert ids(LakeSource(place, filter="p = 'c/d'", version=2)) == [2, 4]
    with pytest.raises(OptionError, match="no version 9"):
        ids(LakeSource(place, version=9))


def test_delta_tables_with_features_of_spark_are_refused(tmp_path: Path) -> None:
    place = str(tmp_path / "t")
    write_deltalake(place, rows(3), configuration={"delta.columnMapping.mode": "name"})
    with pytest.raises(SchemaError, match="mapped columns"):
        ids(LakeSource(place))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"url": "none"}, TableNotFoundError, "no data files at .*none"),
        ({"url": "none", "format": "delta"}, TableNotFoundError, "no Delta table"),
        ({"url": "odd"}, OptionError, "name the format"),
        ({"url": "mixed"}, OptionError, "name the format"),
        ({"url": "good", "version": 1}, OptionError, "no Delta table at .* to have versions"),
        ({"url": "good", "format": "parquet", "version": 1}, OptionError, "only Delta tables"),
        ({"url": "good", "format": "orc"}, OptionError, "'orc' is not known"),
    ],
)
def test_refusals(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    for place in ("good", "odd", "mixed"):
        (tmp_path / place).mkdir()
    pq.write_table(rows(1), tmp_path / "good" / "a.parquet")
    pq.write_table(rows(1), tmp_path / "mixed" / "a.parquet")
    (tmp_path / "mixed" / "a.arrow").touch()
    (tmp_path / "odd" / "a.bin").touch()
    with pytest.raises(error, match=said):
        ids(LakeSource(**{**options, "url": f"{tmp_path}/{options['url']}"}))
    with pytest.raises(OptionError, match=r"nosuch://user:\*\*\*@host"):
        LakeSource("nosuch://user:secret@host/t").schema  # noqa: B018


def test_no_secret_is_shown() -> None:
    url = "memory://user:letmein@host/t"
    source = LakeSource(url, storage_options={"key": "letmein"})
    assert "letmein" not in repr(source)
    with pytest.raises(TableNotFoundError) as error:
        source.schema  # noqa: B018
    assert "letmein" not in str(error.value)
