package kvlake.pushdown;

import java.lang.reflect.Constructor;
import java.util.Arrays;
import java.util.List;
import org.apache.spark.sql.catalyst.expressions.Attribute;
import org.apache.spark.sql.catalyst.expressions.DynamicPruningSubquery;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.NamedExpression;
import org.apache.spark.sql.catalyst.planning.ExtractEquiJoinKeys;
import org.apache.spark.sql.catalyst.plans.logical.Filter;
import org.apache.spark.sql.catalyst.plans.logical.Join;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.plans.logical.Project;
import org.apache.spark.sql.execution.datasources.v2.DataSourceV2ScanRelation;
import org.apache.spark.sql.execution.dynamicpruning.PartitionPruning$;
import org.apache.spark.sql.internal.SQLConf;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Has a join with a small side look up that side's keys in the other, where that is a table of ours.
 *
 * <p>Spark prunes partitions in the same way, by the same expression, but only where a filter makes
 * the small side selective. The keys come from the side that is broadcast for the join anyway; where
 * the join turns out to be another, Spark drops the expression.
 */
final class FilterByJoinKeys extends PlanRule {
  private static final PartitionPruning$ SPARK = PartitionPruning$.MODULE$;

  @Override
  LogicalPlan rewritten(LogicalPlan node) {
    if (!(node instanceof Join join)) {
      return null;
    }
    var found = ExtractEquiJoinKeys.unapply(join);
    if (found.isEmpty()) {
      return null;
    }
    LogicalPlan left = join.left();
    LogicalPlan right = join.right();
    Seq<Expression> leftKeys = found.get()._2();
    Seq<Expression> rightKeys = found.get()._3();
    LogicalPlan leftScan = SPARK.canPruneLeft(join.joinType()) ? scanBelow(left) : null;
    LogicalPlan rightScan = SPARK.canPruneRight(join.joinType()) ? scanBelow(right) : null;
    if (leftScan != null && isBroadcast(join, right, false)) {
      left = filtered(left, leftScan, leftKeys, right, rightKeys);
    } else if (rightScan != null && isBroadcast(join, left, true)) {
      right = filtered(right, rightScan, rightKeys, left, leftKeys);
    }
    return left == join.left() && right == join.right()
        ? null
        : new Join(left, right, join.joinType(), join.condition(), join.hint());
  }

  private static boolean isBroadcast(Join join, LogicalPlan small, boolean left) {
    boolean hinted =
        left ? SPARK.hintToBroadcastLeft(join.hint()) : SPARK.hintToBroadcastRight(join.hint());
    return hinted || SPARK.canBroadcastBySize(small, SQLConf.get());
  }

  /** The large side with a filter by the first key that its table can look up; else as it is. */
  private static LogicalPlan filtered(
      LogicalPlan large,
      LogicalPlan scan,
      Seq<Expression> keys,
      LogicalPlan small,
      Seq<Expression> smallKeys) {
    for (int at = 0; at < keys.size(); at++) {
      if (keys.apply(at) instanceof Attribute key && isKey(key, scan)) {
        Filter filter = new Filter(amongKeys(key, small, smallKeys, at), scan);
        return replaced(large, scan, filter);
      }
    }
    return large;
  }

  /** The scan of a table of ours under nothing but columns chosen and rows filtered. */
  private static LogicalPlan scanBelow(LogicalPlan plan) {
    if (plan instanceof Project project) {
      return scanBelow(project.child());
    }
    if (plan instanceof Filter filter) {
      return filter.condition() instanceof DynamicPruningSubquery
          ? null // done before, or by Spark
          : scanBelow(filter.child());
    }
    return plan instanceof DataSourceV2ScanRelation relation
            && relation.scan() instanceof PushdownScan
        ? plan
        : null;
  }

  private static boolean isKey(Attribute key, LogicalPlan scan) {
    PushdownScan ours = (PushdownScan) ((DataSourceV2ScanRelation) scan).scan();
    return scan.outputSet().contains(key) && ours.described().key().contains(key.name());
  }

  private static LogicalPlan replaced(LogicalPlan plan, LogicalPlan old, LogicalPlan other) {
    return plan == old
        ? other
        : plan.withNewChildren(seq(List.of(replaced(plan.children().head(), old, other))));
  }

  /** Newer versions of Spark know further options here; none is meant. */
  private static DynamicPruningSubquery amongKeys(
      Expression key, LogicalPlan small, Seq<Expression> smallKeys, int at) {
    Object[] known = {key, small, smallKeys, seq(List.of(at)), true, NamedExpression.newExprId()};
    Constructor<?> constructor = DynamicPruningSubquery.class.getConstructors()[0];
    Object[] all = Arrays.copyOf(known, constructor.getParameterCount());
    Arrays.fill(all, known.length, all.length, Option.empty());
    try {
      return (DynamicPruningSubquery) constructor.newInstance(all);
    } catch (ReflectiveOperationException | IllegalArgumentException error) {
      throw new LinkageError("DynamicPruningSubquery takes other arguments", error);
    }
  }

  private static <T> Seq<T> seq(List<T> items) {
    return CollectionConverters.asScala(items).toSeq();
  }
}
