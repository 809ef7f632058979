package kvlake.pushdown;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.apache.spark.sql.connector.expressions.Expression;
import org.apache.spark.sql.connector.expressions.Literal;
import org.apache.spark.sql.connector.expressions.NamedReference;
import org.apache.spark.sql.connector.expressions.filter.Predicate;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;

/**
 * Predicates as text in the grammar of kvlake's filters, whose meaning is Spark's.
 *
 * <p>The text lets through every row that the predicates do. A part that has no text is left out
 * where that can only let more rows through; else the whole around it is.
 */
final class FilterText {
  private static final int MOST_VALUES = 100_000;
  private static final int MOST_DEEP = 30; // the grammar knows 100, of which a part takes up to three
  private static final String CHAR_TYPE = "__CHAR_VARCHAR_TYPE_STRING"; // compared with padding
  private static final Map<String, String> MATCHES =
      Map.of("STARTS_WITH", "startswith", "ENDS_WITH", "endswith", "CONTAINS", "contains");
  private static final Map<String, String> MIRRORED =
      Map.of("=", "=", "<>", "<>", "<", ">", "<=", ">=", ">", "<", ">=", "<=", "<=>", "<=>");

  private final StructType schema;

  FilterText(StructType schema) {
    this.schema = schema;
  }

  /** The text of all predicates together; null if none has one. */
  String of(Predicate[] predicates) {
    return joined("AND", Arrays.asList(predicates), false, 0);
  }

  /** With {@code exact}, as under a NOT, the text lets through no other rows either. */
  private String text(Expression expression, boolean exact, int depth) {
    if (!(expression instanceof Predicate predicate) || depth > MOST_DEEP) {
      return null;
    }
    Expression[] children = predicate.children();
    switch (predicate.name()) {
      case "AND", "OR":
        return joined(predicate.name(), chain(predicate), exact, depth + 1);
      case "NOT":
        String term = text(children[0], true, depth + 1);
        return term == null ? null : "NOT (" + term + ")";
      case "IS_NULL", "IS_NOT_NULL":
        String column = column(children[0]);
        return column == null ? null : column + " " + predicate.name().replace('_', ' ');
      case "IN":
        return in(children, exact);
      case "STARTS_WITH", "ENDS_WITH", "CONTAINS":
        return match(MATCHES.get(predicate.name()), children);
      default:
        return MIRRORED.containsKey(predicate.name()) ? compared(predicate.name(), children) : null;
    }
  }

  /** The terms of ANDs in ANDs, or of ORs in ORs, which Spark builds two by two, maybe thousands. */
  private static List<Expression> chain(Predicate predicate) {
    Deque<Expression> left = new ArrayDeque<>(List.of(predicate));
    List<Expression> terms = new ArrayList<>();
    while (!left.isEmpty()) {
      Expression next = left.pop();
      if (next instanceof Predicate inner && inner.name().equals(predicate.name())) {
        Expression[] children = inner.children();
        for (int at = children.length - 1; at >= 0; at--) {
          left.push(children[at]);
        }
      } else {
        terms.add(next);
      }
    }
    return terms;
  }

  private String joined(
      String operator, List<? extends Expression> terms, boolean exact, int depth) {
    List<String> texts =
        terms.stream()
            .map(term -> text(term, exact, depth))
            .filter(Objects::nonNull)
            .collect(Collectors.toList());
    boolean needed = exact || operator.equals("OR");
    if (texts.isEmpty() || (needed && texts.size() < terms.size())) {
      return null;
    }
    return texts.size() == 1
        ? texts.get(0)
        : texts.stream().collect(Collectors.joining(") " + operator + " (", "(", ")"));
  }

  private String compared(String operator, Expression[] sides) {
    boolean mirrored = sides[0] instanceof Literal;
    String column = column(sides[mirrored ? 1 : 0]);
    String value = value(sides[mirrored ? 0 : 1]);
    if (column == null || value == null) {
      return null;
    }
    return switch (mirrored ? MIRRORED.get(operator) : operator) {
      case "<=>" -> column + " = " + value + " AND " + column + " IS NOT NULL";
      default -> column + " " + (mirrored ? MIRRORED.get(operator) : operator) + " " + value;
    };
  }

  private String in(Expression[] children, boolean exact) {
    String column = column(children[0]);
    if (column == null || children.length - 1 > MOST_VALUES) {
      return null;
    }
    List<String> values = new ArrayList<>();
    for (Expression child : Arrays.asList(children).subList(1, children.length)) {
      if (isNull(child) && !exact) {
        continue; // a null in the list makes no row pass
      }
      String value = value(child);
      if (value == null) {
        return null;
      }
      values.add(value);
    }
    return values.isEmpty() ? null : column + " IN (" + String.join(", ", values) + ")";
  }

  private String match(String function, Expression[] children) {
    String column = column(children[0]);
    String value = value(children[1]);
    return column == null || value == null ? null : function + "(" + column + ", " + value + ")";
  }

  /** A column, or a field of a struct, whose values compare as they are. */
  private String column(Expression expression) {
    if (!(expression instanceof NamedReference reference)) {
      return null;
    }
    DataType type = schema;
    for (String name : reference.fieldNames()) {
      StructField field =
          type instanceof StructType struct
              ? Arrays.stream(struct.fields())
                  .filter(each -> each.name().equals(name))
                  .findFirst()
                  .orElse(null)
              : null;
      if (field == null || name.isEmpty() || field.metadata().contains(CHAR_TYPE)) {
        return null;
      }
      type = field.dataType();
    }
    if (type instanceof StringType && !type.equals(DataTypes.StringType)) {
      return null; // its collation compares otherwise
    }
    return Arrays.stream(reference.fieldNames())
        .map(name -> "`" + name.replace("`", "``") + "`")
        .collect(Collectors.joining("."));
  }

  private static String value(Expression expression) {
    return expression instanceof Literal<?> literal ? LiteralText.of(literal) : null;
  }

  private static boolean isNull(Expression expression) {
    return expression instanceof Literal<?> literal && literal.value() == null;
  }
}
