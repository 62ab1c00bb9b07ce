/** Finds resources that a test does not close: sockets, servers, timers, child processes. */
import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

/** Closing may take 2 s. The wait is counted in polls because a test may have replaced the clock. */
const POLL_MS = 5;
const POLLS = 400;

/** The number of resources that keep the process alive, by kind: `{ TCPServerWrap: 1, Timeout: 2 }`. */
export type Census = ReadonlyMap<string, number>;

/**
 * Makes a test of the calling file fail if more resources are open after it than before, and names the kinds. Call it
 * once, at the top of the file. Resources must be opened in the test itself, or before all tests.
 */
export function checkLeaks(): void {
  let before: Census = new Map();
  beforeEach(() => {
    before = takeCensus();
  });
  afterEach(async () => {
    const left = await leftSince(before);
    assert.equal(left, "", `left behind by this test: ${left}`);
  });
}

/** The resources that keep the process alive now. */
export function takeCensus(): Census {
  const kinds = Map.groupBy(process.getActiveResourcesInfo(), (kind) => kind);
  return new Map([...kinds].map(([kind, all]) => [kind, all.length]));
}

/** The additional resources after a time for closing: `TCPServerWrap ×1, Timeout ×2`, or "". */
export async function leftSince(before: Census): Promise<string> {
  let left = surplus(before);
  for (let poll = 0; poll < POLLS && left !== ""; poll += 1) {
    await delay(POLL_MS);
    left = surplus(before);
  }
  return left;
}

function surplus(before: Census): string {
  return [...takeCensus()]
    .map(([kind, count]) => ({ kind, count: count - (before.get(kind) ?? 0) }))
    .filter(({ count }) => count > 0)
    .map(({ kind, count }) => `${kind} ×${count}`)
    .join(", ");
}
