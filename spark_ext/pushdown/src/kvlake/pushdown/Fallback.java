package kvlake.pushdown;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Spark's internals differ between versions: where they are not as expected, nothing is pushed. */
final class Fallback {
  private static final Logger LOG = LoggerFactory.getLogger("kvlake.pushdown");
  private static final AtomicBoolean WARNED = new AtomicBoolean();

  private Fallback() {}

  /** The first answer; the second where this Spark lacks what the first needs. */
  static <T> T orElse(Supplier<T> first, Supplier<T> second) {
    try {
      return first.get();
    } catch (LinkageError error) {
      if (WARNED.compareAndSet(false, true)) {
        LOG.warn(
            "kvlake reads without pushdown: Spark {} is not known to it ({}). Queries stay right, and "
                + "read whole tables; spark.kvlake.pushdown = off silences this",
            org.apache.spark.package$.MODULE$.SPARK_VERSION(),
            error.toString());
      }
      return second.get();
    }
  }
}
