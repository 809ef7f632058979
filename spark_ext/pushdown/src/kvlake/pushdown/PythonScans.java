package kvlake.pushdown;

import java.util.Map;
import org.apache.spark.sql.connector.read.Scan;
import org.apache.spark.sql.execution.datasources.v2.python.PythonDataSourceV2;
import org.apache.spark.sql.execution.datasources.v2.python.PythonTable;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * Scans by a Python data source, each by an instance of its own.
 *
 * <p>Spark keeps what an instance has planned once, for all scans of a relation: what were pushed
 * for one would be taken for another.
 */
final class PythonScans {
  private PythonScans() {}

  static Scan scan(String format, StructType schema, Map<String, String> options) {
    PythonTable table = new PythonTable(instance(format), format, schema);
    return table.newScanBuilder(new CaseInsensitiveStringMap(options)).build();
  }

  /** The schema that the data source tells for these options. */
  static StructType schema(String format, Map<String, String> options) {
    return instance(format).inferSchema(new CaseInsensitiveStringMap(options));
  }

  private static PythonDataSourceV2 instance(String format) {
    PythonDataSourceV2 instance = new PythonDataSourceV2();
    instance.setShortName(format);
    instance.source(); // looked up now, while the session that knows the format is active
    return instance;
  }
}
