package services;

import dev.restate.sdk.common.TerminalException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;

/** What several of the services need. */
final class Support {
  private static final String STEP_LOG = System.getenv("STEP_LOG");

  /** Attempts by handler and key. In memory on purpose: a restarted process counts anew. */
  private static final Map<String, Integer> ATTEMPTS = new ConcurrentHashMap<>();

  private Support() {}

  /** Appends one line to the file that STEP_LOG names, in one write; without STEP_LOG nothing happens. */
  static void logStep(String line) throws IOException {
    if (STEP_LOG == null) return;
    Files.writeString(Path.of(STEP_LOG), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  /** Fails the attempt with a retryable error in `percent` of 100 calls. */
  static void maybeFail(double percent, String place) {
    if (ThreadLocalRandom.current().nextDouble() * 100 < percent) {
      throw new IllegalStateException("random failure " + place + " the change");
    }
  }

  /** Hangs, with no durable command, until the file exists. */
  static void waitForFile(String file) throws InterruptedException {
    while (!Files.exists(Path.of(file))) Thread.sleep(20);
  }

  /** Counts one more attempt of a handler and key. */
  static int attempt(String handler, String key) {
    return ATTEMPTS.merge(handler + " " + key, 1, Integer::sum);
  }

  /** How many there were. */
  static int attempts(String handler, String key) {
    return ATTEMPTS.getOrDefault(handler + " " + key, 0);
  }

  /** Fails the first `times` attempts, retryable; then gives the attempt's number. */
  static int failFirst(String handler, String key, int times) {
    var number = attempt(handler, key);
    if (number <= times) throw new IllegalStateException("attempt " + number + " of " + key + " fails as asked");
    return number;
  }

  /** The error text of the contract. */
  static String errorText(TerminalException error) {
    return error.getCode() + ": " + error.getMessage();
  }
}
