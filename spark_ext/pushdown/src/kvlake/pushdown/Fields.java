package kvlake.pushdown;

import java.util.function.UnaryOperator;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;

/** Nodes of a plan with other fields. */
final class Fields {
  private Fields() {}

  /** Fields differ between versions of Spark: all are kept, whatever they are, but for some. */
  static LogicalPlan replaced(LogicalPlan node, UnaryOperator<Object> replacement) {
    Object[] fields = new Object[node.productArity()];
    for (int at = 0; at < fields.length; at++) {
      fields[at] = replacement.apply(node.productElement(at));
    }
    return node.makeCopy(fields);
  }
}
