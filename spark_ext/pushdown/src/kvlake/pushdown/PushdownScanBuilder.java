package kvlake.pushdown;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.spark.sql.connector.expressions.aggregate.AggregateFunc;
import org.apache.spark.sql.connector.expressions.aggregate.Aggregation;
import org.apache.spark.sql.connector.expressions.aggregate.CountStar;
import org.apache.spark.sql.connector.read.Scan;
import org.apache.spark.sql.connector.read.SupportsPushDownAggregates;
import org.apache.spark.sql.connector.read.SupportsPushDownFilters;
import org.apache.spark.sql.connector.read.SupportsPushDownLimit;
import org.apache.spark.sql.connector.read.SupportsPushDownRequiredColumns;
import org.apache.spark.sql.execution.datasources.v2.python.PythonTable;
import org.apache.spark.sql.sources.Filter;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * Collects what Spark pushes into one scan.
 *
 * <p>Spark evaluates all filters once more, so the store may return more rows than asked for.
 */
final class PushdownScanBuilder
    implements SupportsPushDownRequiredColumns,
        SupportsPushDownFilters,
        SupportsPushDownLimit,
        SupportsPushDownAggregates {
  /** A table with a limit is read as one partition: more rows are read faster by many. */
  private static final int MOST_LIMIT = 16_384;

  private final PythonTable table;
  private final CaseInsensitiveStringMap options;
  private final StructType full;
  private Pushed pushed;

  @SuppressWarnings("deprecation") // the type of columns() that all versions of Spark have
  PushdownScanBuilder(PythonTable table, CaseInsensitiveStringMap options) {
    this.table = table;
    this.options = options;
    this.full = table.schema();
    this.pushed = Pushed.nothing(full);
  }

  /** Of the older kind of filters: Spark 4.2 fails to make predicates of, say, AND in COALESCE. */
  @Override
  public Filter[] pushFilters(Filter[] filters) {
    pushed = pushed.withFilter(new FilterText(full).of(Predicates.of(filters)));
    return filters;
  }

  /** None is settled by the store alone. */
  @Override
  public Filter[] pushedFilters() {
    return new Filter[0];
  }

  @Override
  public void pruneColumns(StructType required) {
    Set<String> names = Set.copyOf(Arrays.asList(required.fieldNames()));
    List<StructField> kept =
        Arrays.stream(full.fields())
            .filter(field -> names.contains(field.name()))
            .collect(Collectors.toList());
    if (kept.isEmpty()) { // rows alone are wanted, and Arrow's have at least one column
      Arrays.stream(full.fields())
          .min(Comparator.comparingInt(field -> field.dataType().defaultSize()))
          .ifPresent(kept::add);
    }
    pushed = pushed.withSchema(new StructType(kept.toArray(new StructField[0])));
  }

  @Override
  public boolean pushLimit(int rows) {
    if (rows > MOST_LIMIT) {
      return false;
    }
    pushed = pushed.withLimit(rows);
    return true;
  }

  /** Every task may return so many rows. */
  @Override
  public boolean isPartiallyPushed() {
    return true;
  }

  /** Counts of all rows, each partition's for itself; Spark adds them up. */
  @Override
  public boolean pushAggregation(Aggregation aggregation) {
    AggregateFunc[] functions = aggregation.aggregateExpressions();
    boolean counts =
        aggregation.groupByExpressions().length == 0
            && functions.length == 1
            && functions[0] instanceof CountStar;
    if (counts) {
      pushed = pushed.counting(new StructType().add("count(*)", DataTypes.LongType));
    }
    return counts;
  }

  @Override
  public Scan build() {
    return new PushdownScan(table, options.asCaseSensitiveMap(), pushed);
  }
}
