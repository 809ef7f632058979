"""Secured servers and spark-redis's options through Spark, where everything is text."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pyspark.sql import DataFrameReader, SparkSession
from servers import Server, installed
from spark_tables import load, people, save
from topology import TlsServer, tls_server

from connector.embedded import serve

PROVIDER = '''
import os
from pathlib import Path
import redis

class Vault(redis.CredentialProvider):
    """Notes which process asked, and gives the password."""

    def get_credentials(self):
        place = Path({directory!r})
        (place / f"asked-{{os.getpid()}}").touch()
        return ((place / "password").read_text(),)
'''


@pytest.fixture(scope="module")
def secured() -> Iterator[TlsServer]:
    with tls_server(installed("redis"), clients="yes", password="p@ss:word/") as found:
        yield found


def test_tls_with_client_certificates(spark: SparkSession, secured: TlsServer, table: str) -> None:
    files = {
        "tls_ca_file": secured.ca_file,
        "tls_cert_file": secured.cert_file,
        "tls_key_file": secured.key_file,
        "tls_check_hostname": "true",
    }
    save(people(spark, 500), secured.url, table, **files)
    assert secured.raw.hget(f"{table}:7", "name") == b"name 7"
    assert load(spark, secured.url, table, **files).where("id >= 490").count() == 10
    with pytest.raises(Exception, match=r"tls\.cert\.file") as caught:
        load(spark, secured.url, table, tls_ca_file=secured.ca_file)
    assert "p@ss" not in str(caught.value)
    assert "p%40ss" not in str(caught.value)


def test_host_and_port_in_place_of_a_url(
    spark: SparkSession, secured: TlsServer, table: str
) -> None:
    save(
        people(spark, 50),
        secured.url,
        table,
        tls_ca_file=secured.ca_file,
        tls_cert_file=secured.cert_file,
        tls_key_file=secured.key_file,
    )
    given = {
        "host": "localhost",
        "port": str(secured.port),
        "auth": "p@ss:word/",
        "ssl": "true",
        "tls.ca.file": secured.ca_file,
        "tls.cert.file": secured.cert_file,
        "tls.key.file": secured.key_file,
    }
    assert spark.read.format("redis").options(table=table, **given).load().count() == 50


def test_a_credential_provider_is_made_where_it_is_needed(
    spark: SparkSession, table: str, tmp_path: Path
) -> None:
    module = tmp_path / "vault_of_tests.py"
    module.write_text(PROVIDER.format(directory=str(tmp_path)))
    (tmp_path / "password").write_text("from-the-vault")
    spark.sparkContext.addPyFile(str(module))
    with serve(password="from-the-vault") as server:
        place = f"redis://{server.url.rpartition('@')[2]}"
        named = {"credential_provider": "vault_of_tests.Vault"}
        save(people(spark, 4000), place, table, **named)
        assert load(spark, place, table, **named).count() == 4000
        askers = {int(path.name.removeprefix("asked-")) for path in tmp_path.glob("asked-*")}
        assert len(askers - {os.getpid()}) >= 2, "the planner and a worker made one of their own"
        with pytest.raises(Exception, match=r"credential\.provider"):
            load(spark, place, table, credential_provider="vault_of_tests.Bank")


def test_a_table_of_spark_redis_by_its_options(
    spark: SparkSession, server: Server, table: str
) -> None:
    for i in range(3):
        row = {"n": i, "ok": "true", "x": "1.0E10", "day": "2013-01-01", "d": "1.000E-7"}
        at = f"2013-01-01 05:00:0{i}.0"
        server.raw.hset(f"{table}:{i}", mapping={**row, "at": at, "local": "2013-01-01T05:00"})
    place = urlsplit(server.url)
    options = {
        "host": str(place.hostname),
        "port": str(place.port),
        "dbNum": "0",
        "timeout": "5000",
        "table": table,
        "key.column": "id",
        "model": "hash",
        "partitions.number": "3",
        "scan.count": "100",
        "max.pipeline.size": "100",
        "filter.keys.by.type": "true",
        "iterator.grouping.size": "1000",
    }
    schema = (
        "id bigint, n int, ok boolean, x double, day date, d decimal(20,10), at timestamp, "
        "local timestamp_ntz"
    )

    def reader() -> DataFrameReader:
        return spark.read.format("redis").options(**options)

    (row,) = reader().schema(schema).load().where("n = 2").collect()
    assert (row.id, row.ok, row.x, row.day) == (2, True, 1e10, dt.date(2013, 1, 1))
    assert row.local == dt.datetime(2013, 1, 1, 5)
    asked = reader().schema(schema).load().selectExpr("cast(at as string) at")
    assert sorted(row.at for row in asked.collect()) == [f"2013-01-01 05:00:0{i}" for i in range(3)]
    assert reader().option("infer.schema", "true").load().schema["at"].dataType.typeName() == (
        "timestamp_ntz"
    )
    with pytest.raises(Exception, match="serialised Java objects"):
        reader().option("model", "binary").load()


def test_a_ttl_as_spark_redis_has_it(spark: SparkSession, server: Server, table: str) -> None:
    save(people(spark, 5), server.url, table, ttl=100)
    assert 95 <= server.raw.ttl(f"{table}:3") <= 100
