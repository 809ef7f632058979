package kvlake.pushdown;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.apache.spark.sql.connector.expressions.Expressions;
import org.apache.spark.sql.connector.expressions.NamedReference;
import org.apache.spark.sql.connector.expressions.filter.Predicate;
import org.apache.spark.sql.connector.metric.CustomMetric;
import org.apache.spark.sql.connector.metric.CustomTaskMetric;
import org.apache.spark.sql.connector.read.Batch;
import org.apache.spark.sql.connector.read.Scan;
import org.apache.spark.sql.connector.read.Statistics;
import org.apache.spark.sql.connector.read.SupportsReportStatistics;
import org.apache.spark.sql.connector.read.SupportsRuntimeV2Filtering;
import org.apache.spark.sql.execution.datasources.v2.python.PythonTable;
import org.apache.spark.sql.types.StructType;

/** One scan with what was pushed into it; scans that read the same are equal. */
final class PushdownScan implements Scan, SupportsReportStatistics, SupportsRuntimeV2Filtering {
  private final PythonTable table;
  private final Pushed pushed;
  private final Map<String, String> options;
  private final Scan python;
  private final ThreadLocal<Scan> narrowed = new ThreadLocal<>();
  private TableDescription description;

  @SuppressWarnings("deprecation") // the type of columns() that all versions of Spark have
  PushdownScan(PythonTable table, Map<String, String> given, Pushed pushed) {
    this.table = table;
    this.pushed = pushed;
    this.options = pushed.options(given, table.schema());
    this.python = PythonScans.scan(table.name(), pushed.schema(), options);
  }

  @Override
  public StructType readSchema() {
    return pushed.schema();
  }

  @Override
  public String description() {
    return "kvlake " + table.name() + " " + pushed;
  }

  /** Rows, not columns, as Spark's Python sources have; said without planning partitions. */
  @Override
  public ColumnarSupportMode columnarSupportMode() {
    return ColumnarSupportMode.UNSUPPORTED;
  }

  @Override
  public CustomMetric[] supportedCustomMetrics() {
    return python.supportedCustomMetrics();
  }

  @Override
  public CustomTaskMetric[] reportDriverMetrics() {
    return python.reportDriverMetrics();
  }

  @Override
  public Statistics estimateStatistics() {
    return described().statistics(pushed.schema());
  }

  /**
   * Keys of a join can take the place of a scan, by lookups; other columns would gain little.
   *
   * <p>Spark asks this of every scan. Only one that a join had described has an answer, as to know
   * the key takes a request to the server.
   */
  @Override
  public synchronized NamedReference[] filterAttributes() {
    if (description == null) {
      return new NamedReference[0];
    }
    return Arrays.stream(pushed.schema().fieldNames())
        .filter(description.key()::contains)
        .map(name -> Expressions.column("`" + name.replace("`", "``") + "`"))
        .toArray(NamedReference[]::new);
  }

  /**
   * Keys that a join has found while the query runs.
   *
   * <p>Spark calls this and then {@code toBatch} at once. Only that batch is narrowed: the scan may
   * stand in the plan once more, where it reads all.
   */
  @Override
  public void filter(Predicate[] predicates) {
    String keys = new FilterText(pushed.schema()).of(predicates);
    narrowed.remove();
    if (keys != null) {
      Map<String, String> asking = new HashMap<>(options);
      asking.put("kvlake.pushed.keys", keys);
      narrowed.set(PythonScans.scan(table.name(), pushed.schema(), asking));
    }
  }

  @Override
  public Batch toBatch() {
    Scan chosen = Objects.requireNonNullElse(narrowed.get(), python);
    narrowed.remove();
    return new PushdownBatch(this, chosen.toBatch());
  }

  synchronized TableDescription described() {
    if (description == null) {
      description = TableDescription.ask(table.name(), options);
    }
    return description;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof PushdownScan scan
        && table == scan.table
        && options.equals(scan.options)
        && pushed.equals(scan.pushed);
  }

  @Override
  public int hashCode() {
    return Objects.hash(System.identityHashCode(table), options, pushed);
  }
}
