package kvlake.pushdown;

import java.math.BigDecimal;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.Arrays;
import java.util.stream.Stream;
import org.apache.spark.sql.connector.expressions.Expression;
import org.apache.spark.sql.connector.expressions.filter.Predicate;
import org.apache.spark.sql.sources.And;
import org.apache.spark.sql.sources.Filter;
import org.apache.spark.sql.sources.Not;
import org.apache.spark.sql.sources.Or;
import scala.Product;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Spark's older filters as predicates.
 *
 * <p>Not all of them have one: to ask a filter on an array for it fails.
 */
final class Predicates {
  private static final Predicate UNKNOWN = new Predicate("UNKNOWN", new Expression[0]);

  private Predicates() {}

  static Predicate[] of(Filter[] filters) {
    return Arrays.stream(filters).map(Predicates::of).toArray(Predicate[]::new);
  }

  private static Predicate of(Filter filter) {
    if (filter instanceof And and) {
      return joined("AND", of(and.left()), of(and.right()));
    }
    if (filter instanceof Or or) {
      return joined("OR", of(or.left()), of(or.right()));
    }
    if (filter instanceof Not not) {
      return joined("NOT", of(not.child()));
    }
    return isPlain(filter) ? filter.toV2() : UNKNOWN;
  }

  private static Predicate joined(String operator, Predicate... terms) {
    return new Predicate(operator, terms);
  }

  /** Whether all that a filter names, columns and values, is of a type that literals have. */
  private static boolean isPlain(Filter filter) {
    return filter instanceof Product parts
        && CollectionConverters.asJava(parts.productIterator().toSeq()).stream()
            .flatMap(part -> part instanceof Object[] list ? Arrays.stream(list) : Stream.of(part))
            .allMatch(Predicates::isLiteral);
  }

  private static boolean isLiteral(Object value) {
    return value == null
        || value instanceof String
        || value instanceof Boolean
        || value instanceof Byte
        || value instanceof Short
        || value instanceof Integer
        || value instanceof Long
        || value instanceof Float
        || value instanceof Double
        || value instanceof BigDecimal
        || value instanceof byte[]
        || value instanceof java.sql.Date
        || value instanceof java.sql.Timestamp
        || value instanceof LocalDate
        || value instanceof LocalDateTime
        || value instanceof Instant;
  }
}
