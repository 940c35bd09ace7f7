import { TerminalError } from "@restatedev/restate-sdk";

import { appendFileSync, existsSync } from "node:fs";

/** Appends one line to the file that STEP_LOG names, in one write; without STEP_LOG nothing happens. */
export function logStep(line: string): void {
  if (process.env.STEP_LOG) appendFileSync(process.env.STEP_LOG, line + "\n");
}

/** Fails the attempt with a retryable error in `percent` of 100 calls. */
export function maybeFail(percent: number, place: string): void {
  if (Math.random() * 100 < percent) throw new Error(`random failure ${place} the change`);
}

/** Waits in the handler process alone, with no durable command. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function waitForFile(file: string): Promise<void> {
  while (!existsSync(file)) await pause(20);
}

/** Counts attempts by key. In memory on purpose: a restarted process counts anew. */
export class Attempts {
  private readonly counts = new Map<string, number>();

  count(key: string): number {
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    return count;
  }

  /** Attempts so far. */
  counted(key: string): number {
    return this.counts.get(key) ?? 0;
  }
}

/** The retryable error of a handler that is asked to fail. */
export function failedAsAsked(attempt: number, key: string): never {
  throw new Error(`attempt ${attempt} of ${key} fails as asked`);
}

/** `<code>: <message>` of a terminal error; another one is thrown on. */
export function errorText(error: unknown): string {
  if (!(error instanceof TerminalError)) throw error;
  return `${error.code}: ${error.message}`;
}
