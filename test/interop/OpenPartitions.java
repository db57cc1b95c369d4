import java.io.File;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateEntry;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Opens partition directories with the classes that Kafka's own broker opens its logs with, and prints what it found in
 * each, one line a directory: name, log start offset, log end offset, segments, topic id, epochs, producers.
 * `clean` trusts indexes, epochs and snapshots as after an orderly stop; `recover` reads every batch from offset 0 on.
 * Kafka writes into directories that it opens: give it copies.
 */
public class OpenPartitions {
  public static void main(String[] args) throws Exception {
    boolean clean = args[0].equals("clean");
    KafkaScheduler scheduler = new KafkaScheduler(1);
    scheduler.startup();
    for (int i = 1; i < args.length; i++) {
      LogConfig config = new LogConfig(Map.of("retention.ms", "-1"));
      LogDirFailureChannel failures = new LogDirFailureChannel(1);
      long recoveryPoint = clean ? Long.MAX_VALUE : 0;
      UnifiedLog log = UnifiedLog.create(new File(args[i]), config, 0, recoveryPoint, scheduler, new BrokerTopicStats(),
          Time.SYSTEM, 300_000, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600_000, failures, clean,
          Optional.empty());
      String epochs = log.leaderEpochCache().epochEntries().stream()
          .map(entry -> entry.epoch() + "@" + entry.startOffset()).collect(Collectors.joining(","));
      String producers = new TreeMap<>(log.producerStateManager().activeProducers()).values().stream()
          .map(entry -> describe(entry, log.activeProducersWithLastSequence())).collect(Collectors.joining(","));
      System.out.println(String.join("\t", log.dir().getName(), "" + log.logStartOffset(), "" + log.logEndOffset(),
          "" + log.numberOfSegments(), log.topicId().map(Object::toString).orElse("none"), epochs, producers));
      log.close();
    }
    scheduler.shutdown();
  }

  static String describe(ProducerStateEntry entry, Map<Long, Integer> lastSequences) {
    int lastSequence = lastSequences.get(entry.producerId());
    return entry.producerId() + "/" + entry.producerEpoch() + ":" + lastSequence + "@" + entry.lastDataOffset();
  }
}
