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
