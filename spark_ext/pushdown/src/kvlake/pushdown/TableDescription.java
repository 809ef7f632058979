package kvlake.pushdown;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.spark.sql.connector.read.Statistics;
import org.apache.spark.sql.types.Metadata;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;

/**
 * What a data source tells of a table beside its columns, as metadata of these: how many rows it
 * has, how many bytes a value has on average, and which columns are its key.
 */
record TableDescription(StructType columns) {
  private static final String ROWS = "kvlake.rows";
  private static final String BYTES = "kvlake.bytes";
  private static final String KEY = "kvlake.key";

  static TableDescription ask(String format, Map<String, String> options) {
    Map<String, String> asking = new HashMap<>(options);
    asking.put("kvlake.pushed.describe", "true");
    return new TableDescription(PythonScans.schema(format, asking));
  }

  Set<String> key() {
    return Arrays.stream(columns.fields())
        .filter(field -> field.metadata().contains(KEY))
        .map(StructField::name)
        .collect(Collectors.toSet());
  }

  /** The size of all rows with some of the columns, as Spark's optimizer counts. */
  Statistics statistics(StructType wanted) {
    double bytes = ROW_BYTES;
    OptionalLong rows = OptionalLong.empty();
    for (StructField field : columns.fields()) {
      Metadata told = field.metadata();
      if (!told.contains(ROWS)) {
        return new Size(OptionalLong.empty(), OptionalLong.empty());
      }
      rows = OptionalLong.of(told.getLong(ROWS));
      if (Arrays.asList(wanted.fieldNames()).contains(field.name())) {
        bytes += told.getDouble(BYTES);
      }
    }
    long size = Math.max(1, (long) Math.ceil(bytes * rows.orElse(0)));
    return new Size(OptionalLong.of(size), rows);
  }

  private static final double ROW_BYTES = 8; // as in Spark's EstimationUtils

  private record Size(OptionalLong sizeInBytes, OptionalLong numRows) implements Statistics {}
}
