/** Finds what a test leaves behind: sockets, servers, timers, child processes. */
import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

/** What is being closed may take 2 s. Counted in polls: a test may have replaced the clock. */
const POLL_MS = 5;
const POLLS = 400;

/** How many of each kind keep the process alive: `{ TCPServerWrap: 1, Timeout: 2 }`. */
export type Census = ReadonlyMap<string, number>;

/**
 * Makes each test of the calling file fail that leaves more behind than there was before it, naming the kinds. Call it
 * once, at the top of the file. What a test needs must be opened in the test itself, or before all tests.
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

/** What keeps the process alive at this moment. */
export function takeCensus(): Census {
  const kinds = Map.groupBy(process.getActiveResourcesInfo(), (kind) => kind);
  return new Map([...kinds].map(([kind, all]) => [kind, all.length]));
}

/** What there is more of than `before`, after time to close: `TCPServerWrap ×1, Timeout ×2`, or nothing. */
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
