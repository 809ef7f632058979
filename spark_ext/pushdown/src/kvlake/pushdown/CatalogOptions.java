package kvlake.pushdown;

import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.TableIdentifier;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.catalyst.catalog.CatalogTable;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.plans.logical.V2WriteCommand;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.execution.datasources.v2.DataSourceV2Relation;
import org.apache.spark.sql.execution.datasources.v2.python.PythonTable;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;
import scala.Option;
import scala.collection.immutable.Map$;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Gives tables of the session's catalog the options that they were created with.
 *
 * <p>Spark keeps these in its catalog, and hands a Python data source those of the query alone.
 */
final class CatalogOptions extends PlanRule {
  private static final String SESSION_CATALOG = "spark_catalog";

  private final SparkSession session;

  CatalogOptions(SparkSession session) {
    this.session = session;
  }

  /** Whether anything is pushed or not: a table cannot be found without its options. */
  @Override
  boolean on() {
    return true;
  }

  @Override
  LogicalPlan rewritten(LogicalPlan node) {
    if (node instanceof DataSourceV2Relation relation && isOurs(relation)) {
      return read(relation);
    }
    if (node instanceof V2WriteCommand command
        && command.table() instanceof DataSourceV2Relation relation
        && isOurs(relation)) {
      return written(node, relation);
    }
    return null;
  }

  private static boolean isOurs(DataSourceV2Relation relation) {
    return relation.table() instanceof PythonTable table
        && Settings.isOurs(table.name())
        && relation.identifier().isDefined()
        && relation.catalog().isDefined()
        && relation.catalog().get().name().equals(SESSION_CATALOG);
  }

  private DataSourceV2Relation read(DataSourceV2Relation relation) {
    Map<String, String> all = created(relation.identifier().get());
    all.putAll(relation.options());
    return all.equals(relation.options()) ? null : withOptions(relation, all);
  }

  /** Spark takes what a command says of a write, or what its table says; the two may not differ. */
  private LogicalPlan written(LogicalPlan command, DataSourceV2Relation relation) {
    Map<String, String> all = created(relation.identifier().get());
    all.putAll(relation.options());
    boolean told = false;
    for (int at = 0; at < command.productArity(); at++) {
      if (command.productElement(at) instanceof scala.collection.immutable.Map<?, ?> options) {
        told = options.nonEmpty();
        CollectionConverters.asJava(options)
            .forEach((name, text) -> all.put(lower(name.toString()), text.toString()));
      }
    }
    boolean both = told;
    if (all.equals(relation.options())) {
      return null;
    }
    return Fields.replaced(
        command,
        field -> {
          if (field == relation) {
            return withOptions(relation, all);
          }
          boolean options = both && field instanceof scala.collection.immutable.Map<?, ?>;
          return options ? Map$.MODULE$.from(CollectionConverters.asScala(all)) : field;
        });
  }

  private static DataSourceV2Relation withOptions(
      DataSourceV2Relation relation, Map<String, String> options) {
    CaseInsensitiveStringMap all = new CaseInsensitiveStringMap(options);
    return (DataSourceV2Relation)
        Fields.replaced(relation, field -> field == relation.options() ? all : field);
  }

  /** The options of CREATE TABLE, their names in lower case. */
  private Map<String, String> created(Identifier name) {
    String[] namespace = name.namespace();
    Option<String> database =
        Option.apply(namespace.length == 0 ? null : namespace[namespace.length - 1]);
    CatalogTable table = metadata(new TableIdentifier(name.name(), database));
    Map<String, String> found = new TreeMap<>();
    CollectionConverters.asJava(table.storage().properties())
        .forEach((option, text) -> found.put(lower(option), text));
    return found;
  }

  private CatalogTable metadata(TableIdentifier name) {
    try {
      var classic = (org.apache.spark.sql.classic.SparkSession) session;
      return classic.sessionState().catalog().getTableMetadata(name);
    } catch (NoSuchNamespaceException | NoSuchTableException gone) {
      throw new IllegalStateException(gone);
    }
  }

  private static String lower(String name) {
    return name.toLowerCase(Locale.ROOT);
  }
}
