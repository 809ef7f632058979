package kvlake.pushdown;

import java.util.Set;
import org.apache.spark.sql.connector.catalog.Column;
import org.apache.spark.sql.connector.catalog.SupportsRead;
import org.apache.spark.sql.connector.catalog.TableCapability;
import org.apache.spark.sql.connector.read.ScanBuilder;
import org.apache.spark.sql.execution.datasources.v2.python.PythonTable;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/** A table of a Python data source, whose scans take columns, filters, limits and counts. */
record PushdownTable(PythonTable python) implements SupportsRead {

  @Override
  public String name() {
    return python.name();
  }

  @Override
  public Column[] columns() {
    return python.columns();
  }

  @Override
  public Set<TableCapability> capabilities() {
    return python.capabilities();
  }

  /** Whether this Spark can do it is found out here: once a builder took something, it must. */
  @Override
  public ScanBuilder newScanBuilder(CaseInsensitiveStringMap options) {
    return Fallback.orElse(
        () -> {
          PythonScans.scan(name(), python.schema(), options.asCaseSensitiveMap());
          return new PushdownScanBuilder(python, options);
        },
        () -> python.newScanBuilder(options));
  }
}
