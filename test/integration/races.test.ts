/** Clients that connect at any moment of a stop are served. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { type EchoOptions, echo } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** Repetitions of each race; 500 in a long run. */
const CYCLES = Number(process.env["WAKEPORT_TEST_CYCLES"] ?? 20);
/** A little longer than a stop, which takes 50 to 300 ms. */
const MAX_STOP_MS = 400;
const ARRIVALS = 3;

/** Resolves at the beginning of the target's next stop. */
async function stopping(wakeport: Wakeport, service: string, stops: number): Promise<void> {
  const seen = (): number => wakeport.record.states.filter((change) => change.to === "stopping").length;
  await eventually(`${service} goes to sleep for the ${stops}. time`, () => seen() >= stops);
}

/** Connects clients at random moments of many stops, and checks that each client is served. */
async function arriveInStops(wakeport: Wakeport, cycles: number, longestMs: number): Promise<void> {
  await wakeport.greeted("echo");
  for (let cycle = 1; cycle <= cycles; cycle += 1) {
    await stopping(wakeport, "echo", cycle);
    const moments = Array.from({ length: ARRIVALS }, () => Math.random() * longestMs);
    const router = moments.map(async (moment) => {
      await delay(moment);
      await wakeport.greeted("echo");
    });
    await Promise.all(router).catch((error: unknown) => {
      throw new Error(`lost in cycle ${cycle}, arrivals after ${moments.map(Math.round)} ms`, { cause: error });
    });
    // A late client may find the target asleep again and wake it.
    await wakeport.until("echo", "ready").catch(() => {});
  }
}

const ways: readonly { readonly name: string; readonly options: EchoOptions }[] = [
  { name: "ends at once", options: { onTerm: "exit" } },
  { name: "closes its listener first", options: { onTerm: "close" } },
];

for (const { name, options } of ways) {
  engineTest(`arrivals at random moments of the stop of a target that ${name}`, async (lab) => {
    const target = await lab.container({ program: echo(options) });
    const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "50ms" } });
    await arriveInStops(wakeport, CYCLES, MAX_STOP_MS);
  });
}

engineTest(
  "clients that connect during the grace period of a target that ignores SIGTERM wait for its next start",
  async (lab) => {
    const target = await lab.container({ program: echo({ onTerm: "ignore" }) });
    const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "50ms", stop_grace: "1s" } });
    const cycles = Math.ceil(CYCLES / 5);
    await arriveInStops(wakeport, cycles, 1_000 + MAX_STOP_MS);
    assert.ok(
      wakeport.record.sleeps.every(({ durationMs }) => durationMs >= 900),
      "the target did not ignore SIGTERM",
    );
  },
);

engineTest("clients that connect while another program stops the target are served by its next start", async (lab) => {
  const target = await lab.container({ program: echo({ onTerm: "close" }) });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  for (let cycle = 1; cycle <= CYCLES / 4; cycle += 1) {
    await wakeport.greeted("echo");
    const stopped = target.stop();
    await delay(Math.random() * MAX_STOP_MS);
    await Promise.all([stopped, servedInTheEnd(wakeport)]);
  }
});

/** A target that stops by itself may still send its greeting and close. But no client is reset. */
async function servedInTheEnd(wakeport: Wakeport): Promise<void> {
  using client = await wakeport.connect("echo");
  await eventually("an answer", () => client.received > 0 || client.fate !== "open");
  assert.notEqual(client.received, 0, `reset: ${client.fate}`);
}

engineTest("clients that connect just before the sleep keep the target awake, or wake it again", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "40ms" } });
  for (let cycle = 0; cycle < CYCLES; cycle += 1) {
    await wakeport.greeted("echo");
    await delay(36 + Math.random() * 8);
    await wakeport.greeted("echo");
  }
  const sleeps = wakeport.record.sleeps.length;
  assert.ok((await startsOf(lab, target)) <= sleeps + 1, "an unnecessary start");
});
