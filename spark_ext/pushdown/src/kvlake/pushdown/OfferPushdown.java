package kvlake.pushdown;

import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.execution.datasources.v2.DataSourceV2Relation;
import org.apache.spark.sql.execution.datasources.v2.python.PythonTable;

/**
 * Puts a table that takes pushed things in the place of Spark's own, which takes none.
 *
 * <p>A relation is replaced once: the new one holds no PythonTable. All the rest, what to push and
 * where, is decided by Spark's own rules.
 */
final class OfferPushdown extends PlanRule {

  @Override
  LogicalPlan rewritten(LogicalPlan node) {
    if (node instanceof DataSourceV2Relation relation
        && relation.table() instanceof PythonTable table
        && Settings.on(table.name(), relation.options())) {
      return withTable(relation, table);
    }
    return null;
  }

  /** The relation's own fields differ between versions of Spark: all are kept, whatever they are. */
  private static LogicalPlan withTable(DataSourceV2Relation relation, PythonTable table) {
    Object[] fields = new Object[relation.productArity()];
    for (int at = 0; at < fields.length; at++) {
      Object field = relation.productElement(at);
      fields[at] = field == table ? new PushdownTable(table) : field;
    }
    return relation.makeCopy(fields);
  }
}
