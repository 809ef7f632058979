import com.aerospike.client.AerospikeClient;
import com.aerospike.client.policy.ScanPolicy;
import com.aerospike.client.query.PartitionFilter;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.IntStream;

/**
 * Scans a set with the Java client and drops every record: what a connector in the JVM could reach.
 *
 * <p>Arguments: host, port, namespace, set. Each line of standard input, a number of threads among
 * which the partitions are shared, is answered by a line with the records and the seconds; the end
 * of the input ends it.
 */
final class AerospikeScan {
    private static final int PARTITIONS = 4096;

    public static void main(String[] given) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        try (AerospikeClient client = new AerospikeClient(given[0], Integer.parseInt(given[1]))) {
            System.out.println("ready");
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                int threads = Integer.parseInt(line);
                long started = System.nanoTime();
                long records = scan(client, given[2], given[3], threads);
                System.out.println(records + " " + (System.nanoTime() - started) / 1e9);
            }
        }
    }

    private static long scan(AerospikeClient client, String namespace, String set, int threads) {
        LongAdder records = new LongAdder();
        int share = PARTITIONS / threads;
        IntStream.range(0, threads).parallel().forEach(i -> {
            int count = i == threads - 1 ? PARTITIONS - i * share : share;
            PartitionFilter part = PartitionFilter.range(i * share, count);
            client.scanPartitions(
                new ScanPolicy(), part, namespace, set, (key, record) -> records.increment());
        });
        return records.sum();
    }
}
