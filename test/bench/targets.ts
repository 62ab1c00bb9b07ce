/** Containers for benchmarks, behind each checkout of wakeport. */
import { setTimeout as delay } from "node:timers/promises";
import { engineVersion } from "../support/engine/engine.ts";
import type { Wakeport } from "./wakeport.ts";

const SLEEP_MS = 20_000;
const POLL_MS = 10;

/** Returns undefined if an engine responds, else what is missing. */
export async function missingEngine(): Promise<string | undefined> {
  return (await engineVersion()) === undefined ? "a Docker engine (test/engine/up)" : undefined;
}

/** Waits until the log of a wakeport has `count` records of targets that fell asleep. */
export async function asleep(wakeport: Wakeport, count: number): Promise<void> {
  const limit = performance.now() + SLEEP_MS;
  while (wakeport.records("target.asleep").length < count) {
    if (performance.now() > limit) throw new Error(`the target does not sleep within ${SLEEP_MS / 1000} s`);
    await delay(POLL_MS);
  }
}
