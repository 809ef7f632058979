package kvlake.pushdown;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.OptionalInt;
import org.apache.spark.SparkContext;
import org.apache.spark.sql.types.StructType;

/**
 * What one scan asks of its table.
 *
 * @param schema the columns of its rows
 * @param filter the rows wanted, or more, as text in kvlake's grammar; null for all
 * @param limit enough rows
 * @param count whether rows are only to be counted
 */
record Pushed(StructType schema, String filter, OptionalInt limit, boolean count) {

  private static final int MOST_SHOWN = 1000;
  private static final int PARTS_PER_CORE = 2; // so that the slowest does not hold up all

  static Pushed nothing(StructType schema) {
    return new Pushed(schema, null, OptionalInt.empty(), false);
  }

  Pushed withSchema(StructType pruned) {
    return new Pushed(pruned, filter, limit, count);
  }

  Pushed withFilter(String text) {
    return new Pushed(schema, text, limit, count);
  }

  Pushed withLimit(int rows) {
    return new Pushed(schema, filter, OptionalInt.of(rows), count);
  }

  Pushed counting(StructType counts) {
    return new Pushed(counts, filter, limit, true);
  }

  /** The reader's options with these; spark_ext/pushdown/request.py reads them. */
  Map<String, String> options(Map<String, String> given, StructType full) {
    Map<String, String> options = new HashMap<>(given);
    options.put("kvlake.pushed.schema", full.json());
    options.put("kvlake.pushed.parts", Integer.toString(PARTS_PER_CORE * cores()));
    if (filter != null) {
      options.put("kvlake.pushed.filter", filter);
    }
    limit.ifPresent(rows -> options.put("kvlake.pushed.limit", Integer.toString(rows)));
    if (count) {
      options.put("kvlake.pushed.count", "true");
    }
    return options;
  }

  /** As {@code explain()} shows it. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    text.append(count ? "PushedCount" : "PushedColumns: " + Arrays.toString(schema.fieldNames()));
    text.append(", PushedFilter: [").append(shown(filter)).append(']');
    limit.ifPresent(rows -> text.append(", PushedLimit: ").append(rows));
    return text.toString();
  }

  private static int cores() {
    return SparkContext.getOrCreate().defaultParallelism();
  }

  private static String shown(String filter) {
    if (filter == null) {
      return "";
    }
    return filter.length() <= MOST_SHOWN ? filter : filter.substring(0, MOST_SHOWN) + "...";
  }
}
