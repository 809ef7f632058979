package kvlake.pushdown;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.WeakHashMap;
import org.apache.spark.sql.ExperimentalMethods;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.SparkSessionExtensions;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.rules.Rule;
import scala.Function1;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.BoxedUnit;

/** What {@code spark.sql.extensions} names: adds the rules to a session, also to one that lives. */
public final class PushdownExtension implements Function1<SparkSessionExtensions, BoxedUnit> {
  public static final PushdownExtension INSTANCE = new PushdownExtension();

  private static final FilterByJoinKeys FILTER_BY_JOIN_KEYS = new FilterByJoinKeys();

  /** New sessions share the extensions of the one that they were made from. */
  private static final Set<SparkSessionExtensions> EXTENDED =
      Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

  @Override
  public BoxedUnit apply(SparkSessionExtensions extensions) {
    if (EXTENDED.add(extensions)) {
      extensions.injectOptimizerRule(CatalogOptions::new);
      extensions.injectOptimizerRule(PushdownExtension::rules);
    }
    return BoxedUnit.UNIT;
  }

  private static Rule<LogicalPlan> rules(SparkSession session) {
    addLast(session.experimental());
    return new OfferPushdown();
  }

  /** Joins are looked at when scans are settled; extensions have no place for rules that late. */
  private static synchronized void addLast(ExperimentalMethods methods) {
    List<Rule<LogicalPlan>> rules =
        new ArrayList<>(CollectionConverters.asJava(methods.extraOptimizations()));
    if (!rules.contains(FILTER_BY_JOIN_KEYS)) {
      rules.add(FILTER_BY_JOIN_KEYS);
      methods.extraOptimizations_$eq(CollectionConverters.asScala(rules).toSeq());
    }
  }
}
