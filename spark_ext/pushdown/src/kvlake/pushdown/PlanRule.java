package kvlake.pushdown;

import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.rules.Rule;
import scala.Function1;
import scala.runtime.AbstractPartialFunction;

/** A rule that rewrites nodes one by one, children first; null leaves a node as it is. */
abstract class PlanRule extends Rule<LogicalPlan> {

  abstract LogicalPlan rewritten(LogicalPlan node);

  /** Whether the session wants it. */
  boolean on() {
    return Settings.on();
  }

  @Override
  public final LogicalPlan apply(LogicalPlan plan) {
    return on() ? Fallback.orElse(() -> rewriteAll(plan), () -> plan) : plan;
  }

  private LogicalPlan rewriteAll(LogicalPlan plan) {
    return plan.transformUp(
            new AbstractPartialFunction<LogicalPlan, LogicalPlan>() {
              @Override
              public boolean isDefinedAt(LogicalPlan node) {
                return rewritten(node) != null;
              }

              @Override
              @SuppressWarnings("unchecked") // Scala's B is a supertype of LogicalPlan
              public <A extends LogicalPlan, B> B applyOrElse(A node, Function1<A, B> orElse) {
                LogicalPlan other = rewritten(node);
                return other == null ? orElse.apply(node) : (B) other;
              }
            });
  }
}
