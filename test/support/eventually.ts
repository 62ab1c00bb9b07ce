/** The only way in which tests wait for a condition. */
import { scheduler } from "node:timers/promises";

const PATIENCE_MS = 20_000;
const MIN_POLL_MS = 2;
const MAX_POLL_MS = 20;

/** Waits until `holds` returns true. @throws Error with `what` after `patienceMs` milliseconds */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  patienceMs: number = PATIENCE_MS,
): Promise<void> {
  const start = performance.now();
  while (!(await holds())) {
    const waitedMs = performance.now() - start;
    if (waitedMs > patienceMs) throw new Error(`did not come true within ${patienceMs / 1_000} s: ${what}`);
    // setTimeout would stand still in a test that replaces it by a mock.
    await scheduler.wait(Math.min(MAX_POLL_MS, MIN_POLL_MS + waitedMs / 20));
  }
}
