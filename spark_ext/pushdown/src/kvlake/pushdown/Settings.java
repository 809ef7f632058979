package kvlake.pushdown;

import java.util.Locale;
import java.util.Set;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/** Where pushdown applies: to which formats, and what the user said. */
final class Settings {
  private static final String OFF = "off";
  private static final Set<String> FORMATS = Set.of("redis", "aerospike");

  private Settings() {}

  static boolean on() {
    return !OFF.equalsIgnoreCase(SQLConf.get().getConfString("spark.kvlake.pushdown", "auto"));
  }

  static boolean isOurs(String format) {
    return FORMATS.contains(format.toLowerCase(Locale.ROOT));
  }

  static boolean on(String format, CaseInsensitiveStringMap options) {
    return isOurs(format)
        && !OFF.equalsIgnoreCase(options.getOrDefault("kvlake.pushdown", "auto"));
  }
}
