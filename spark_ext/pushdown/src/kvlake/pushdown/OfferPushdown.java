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
      PushdownTable offering = new PushdownTable(table);
      return Fields.replaced(relation, field -> field == table ? offering : field);
    }
    return null;
  }
}
