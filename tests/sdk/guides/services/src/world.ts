// What the guides' handlers do to the world outside: mails, bookings, payments. Each is a line in the file STEP_LOG, so
// that a test sees what happened, in which order and how often.

import { appendFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";

const log = process.env.STEP_LOG;

/** Says that something happened outside, in one write. */
export function happened(what: string): void {
  if (log) appendFileSync(log, `${what}\n`);
}

/**
 * The guides have faults that a reader repairs by editing a line and starting the service again. Here the edit is a file
 * `repaired` beside the log, which is looked at when the process starts.
 */
const repaired = log !== undefined && existsSync(join(dirname(log), "repaired"));

/** Fails in a way that is tried again, until somebody has repaired it. */
export function failUntilRepaired(what: string): void {
  if (!repaired) throw new Error(`${what} is down`);
}
