"""Bringing the JVM part into a session."""

from __future__ import annotations

import functools
from pathlib import Path

from py4j.java_gateway import JavaGateway, JavaObject
from pyspark.sql import SparkSession

JAR = str(Path(__file__).with_name("kvlake-pushdown.jar"))
"""The JVM part, for ``spark.jars`` where a session is made without us."""

EXTENSION = "kvlake.pushdown.PushdownExtension"
"""Its class, for ``spark.sql.extensions``."""


def activate(spark: SparkSession) -> SparkSession:
    """Let Spark push columns, filters, limits and join keys into reads of our tables.

    Done once for a session, however often it is called; and not where the session has it by its
    configuration, or reaches its JVM by Spark Connect: the server of that is given ``JAR`` as
    ``spark.jars`` and ``EXTENSION`` as ``spark.sql.extensions``.
    """
    session = getattr(spark, "_jsparkSession", None)
    if session is not None:
        configured = str(session.conf().get("spark.sql.extensions", "")).split(",")
        if EXTENSION not in map(str.strip, configured):
            _extension(spark.sparkContext._gateway).apply(session.extensions())
    return spark


@functools.cache
def _extension(gateway: JavaGateway) -> JavaObject:
    """The extension, by a class loader of its own: the JVM's were made before it was known."""
    jvm = gateway.jvm
    urls = gateway.new_array(jvm.java.net.URL, 1)
    urls[0] = jvm.java.io.File(JAR).toURI().toURL()
    parent = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    extension = jvm.java.net.URLClassLoader(urls, parent).loadClass(EXTENSION)
    return extension.getField("INSTANCE").get(None)
