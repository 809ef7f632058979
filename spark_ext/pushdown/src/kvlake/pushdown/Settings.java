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

  static boolean on(String format, CaseInsensitiveStringMap options) {
    return FORMATS.contains(format.toLowerCase(Locale.ROOT))
        && !OFF.equalsIgnoreCase(options.getOrDefault("kvlake.pushdown", "auto"));
  }
}
