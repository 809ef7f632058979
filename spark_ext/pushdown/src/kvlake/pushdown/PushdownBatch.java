package kvlake.pushdown;

import org.apache.spark.sql.connector.read.Batch;
import org.apache.spark.sql.connector.read.InputPartition;
import org.apache.spark.sql.connector.read.PartitionReaderFactory;

/** The partitions of a scan; batches of equal scans are equal, so that Spark can reuse results. */
final class PushdownBatch implements Batch {
  private final PushdownScan scan;
  private final Batch python;

  PushdownBatch(PushdownScan scan, Batch python) {
    this.scan = scan;
    this.python = python;
  }

  @Override
  public InputPartition[] planInputPartitions() {
    return python.planInputPartitions();
  }

  @Override
  public PartitionReaderFactory createReaderFactory() {
    return python.createReaderFactory();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof PushdownBatch batch && scan.equals(batch.scan);
  }

  @Override
  public int hashCode() {
    return scan.hashCode();
  }
}
