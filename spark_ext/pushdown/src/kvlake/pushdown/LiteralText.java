package kvlake.pushdown;

import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoField;
import java.time.temporal.Temporal;
import java.util.HexFormat;
import org.apache.spark.sql.connector.expressions.Literal;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.Decimal;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.unsafe.types.UTF8String;

/** A literal, as Spark holds it within, as text in the grammar of kvlake's filters. */
final class LiteralText {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("uuuu-MM-dd HH:mm:ss.SSSSSS");
  private static final long SECOND = 1_000_000; // microseconds

  private LiteralText() {}

  /** Null for a null, and for a type or a value that filters do not know. */
  static String of(Literal<?> literal) {
    Object value = literal.value();
    DataType type = literal.dataType();
    if (value == null) {
      return null;
    }
    if (type.equals(DataTypes.StringType)) { // not one with a collation, which compares otherwise
      return quoted((UTF8String) value);
    }
    if (type.equals(DataTypes.ByteType)
        || type.equals(DataTypes.ShortType)
        || type.equals(DataTypes.IntegerType)
        || type.equals(DataTypes.LongType)) {
      return value.toString();
    }
    if (type.equals(DataTypes.FloatType) || type.equals(DataTypes.DoubleType)) {
      return number(((Number) value).doubleValue());
    }
    if (type instanceof DecimalType) {
      return ((Decimal) value).toJavaBigDecimal().toPlainString() + "BD";
    }
    if (type.equals(DataTypes.BooleanType)) {
      return (Boolean) value ? "TRUE" : "FALSE";
    }
    if (type.equals(DataTypes.BinaryType)) {
      return "X'" + HexFormat.of().withUpperCase().formatHex((byte[]) value) + "'";
    }
    if (type.equals(DataTypes.DateType)) {
      LocalDate date = LocalDate.ofEpochDay((Integer) value);
      return isExact(date) ? "DATE '" + date + "'" : null;
    }
    if (type.equals(DataTypes.TimestampType)) {
      return time((Long) value, "Z");
    }
    return type.equals(DataTypes.TimestampNTZType) ? time((Long) value, "") : null;
  }

  /** Null for text with the character that stands for bytes that were no UTF-8. */
  private static String quoted(UTF8String value) {
    String text = value.toString();
    return text.indexOf('\uFFFD') < 0 ? "'" + text.replace("'", "''") + "'" : null;
  }

  private static String number(double value) {
    if (Double.isNaN(value)) {
      return "double('NaN')";
    }
    if (Double.isInfinite(value)) {
      return value > 0 ? "double('inf')" : "double('-inf')";
    }
    String text = Double.toString(value);
    return text.contains("E") ? text : text + "E0";
  }

  private static String time(long microseconds, String zone) {
    int nanoseconds = (int) Math.floorMod(microseconds, SECOND) * 1000;
    LocalDateTime time =
        LocalDateTime.ofEpochSecond(
            Math.floorDiv(microseconds, SECOND), nanoseconds, ZoneOffset.UTC);
    return isExact(time) ? "TIMESTAMP '" + TIME.format(time) + zone + "'" : null;
  }

  /**
   * Python's dates end with the year 9999; those of before 1900 may have passed through Java's old
   * calendar, in which some days are others.
   */
  private static boolean isExact(Temporal time) {
    int year = time.get(ChronoField.YEAR);
    return 1900 <= year && year <= 9999;
  }
}
