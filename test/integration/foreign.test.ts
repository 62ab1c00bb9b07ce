/**
 * Random steps change ten services and wakeport itself, beside five foreign containers: no foreign container is
 * stopped, removed or reached, and each client reaches its own server only. WAKEPORT_TEST_STEPS is the number of
 * many steps (2000 for the whole, which takes about 20 minutes by `node --test`), WAKEPORT_TEST_SEED which.
 */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { scheduler } from "node:timers/promises";
import { engineTest } from "../support/engine/lab.ts";
import { Scene } from "../support/engine/scene.ts";
import { Steps } from "../support/engine/steps.ts";
import { randomFrom } from "../support/engine/verbs.ts";
import { crowd, type Visit, visit } from "../support/engine/visits.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

// The default seed is fixed, so that a failure means a change; other seeds are for longer runs.
const { WAKEPORT_TEST_STEPS: count = "30", WAKEPORT_TEST_SEED: seedText = "1505173062" } = process.env;
/** The longest wait of a client: the stop under way (2 s of grace, 20 s for the engine), a start, and 2 s for this machine. */
const LIMIT_MS = 32_000;
/** The time after an event in which it may cut an open connection: another program stops the target. */
const CUT_MS = 10_000;
/** The time after an event in which clients may be rejected: the longest cooldown and a start. */
const REFUSED_MS = 68_000;
/** The time after which every service must work again. */
const CALM_MS = 80_000;
const RETRY_MS = 200;
const CLIENTS = { limitMs: LIMIT_MS, everyMs: 60, atOnce: 12, longestMs: 2_000 };

/** Takes the steps while clients connect. @returns the outcomes of the clients */
async function disturb(scene: Scene, seed: number, t: TestContext): Promise<readonly Visit[]> {
  const over = new AbortController();
  const visits = crowd({ ...CLIENTS, choices: () => scene.listeners, random: randomFrom(seed + 1) }, over.signal);
  const steps = new Steps(scene, randomFrom(seed));
  const taken: string[] = [];
  try {
    while (taken.length < Number(count)) {
      taken.push(await steps.next());
      assert.deepEqual(scene.foreigners.offences, [], `step ${taken.length}, after ${taken.slice(-5).join(", ")}`);
    }
  } finally {
    over.abort();
    t.diagnostic(`steps: ${written(countsOf(taken))}`);
    t.diagnostic(`visits: ${written(countsOf((await visits).map(kindOf)))}`);
  }
  return visits;
}

/** Checks that each service is served by its own server. */
async function checkServed(scene: Scene): Promise<void> {
  for (const listenPort of scene.listeners) {
    const isServed = async (): Promise<boolean> => {
      const { fate } = await visit({ ...listenPort, stayMs: 0, limitMs: LIMIT_MS });
      assert.doesNotMatch(fate, /wrong|hung/, listenPort.service);
      if (fate !== "served") await scheduler.wait(RETRY_MS);
      return fate === "served";
    };
    await eventually(`${listenPort.service} is served`, isServed, CALM_MS).catch((error: Error) => {
      throw new Error(`${error.message}\n${scene.first.logOf(listenPort.service)}`);
    });
  }
}

function kindOf({ wasAnswered, fate }: Visit): string {
  return wasAnswered && fate !== "served" ? `answered, then ${fate}` : fate;
}

function countsOf(kinds: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

function written(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a);
  return sorted.map(([kind, number]) => `${number} ${kind}`).join(", ");
}

engineTest(
  `${count} random steps beside foreign containers`,
  async (lab, t) => {
    const seed = Number(seedText);
    t.diagnostic(`to replay: WAKEPORT_TEST_SEED=${seed} WAKEPORT_TEST_STEPS=${count}`);
    await using scene = await Scene.open(lab);
    const { foreigners, disturbances } = scene;
    const visits = await disturb(scene, seed, t);
    const isWrong = ({ fate }: Visit): boolean => fate.startsWith("wrong") || fate === "hung";
    const failed = visits.filter(({ fate }) => fate !== "served");
    const isExplained = (one: Visit): boolean => disturbances.sinceLast(one) <= (one.wasAnswered ? CUT_MS : REFUSED_MS);
    const longestMs = Math.max(0, ...failed.map((one) => disturbances.sinceLast(one)));
    t.diagnostic(`the latest failure came ${Math.round(longestMs)} ms after what happened to its target`);
    assert.deepEqual(
      failed.filter((one) => isWrong(one) || !isExplained(one)),
      [],
    );

    await scene.calm();
    await checkServed(scene);
    await lab.engine.catchUp();
    assert.deepEqual(foreigners.offences, []);
    assert.equal(await foreigners.running(), 5);
    await scene.removeDependent();
    let awake: readonly string[] = [];
    const isAllAsleep = async (): Promise<boolean> => {
      awake = await scene.awake();
      return awake.length === 0;
    };
    await eventually("all targets sleep", isAllAsleep, CALM_MS).catch((error: Error) => {
      throw new Error(
        [error.message, ...awake.map((service) => `${service}: ${scene.first.logOf(service)}`)].join("\n"),
      );
    });
    await scene.first.end("SIGTERM");
    t.diagnostic(`wakeport: ${written(scene.first.logged)}`);
    t.diagnostic(`second wakeport: ${written(scene.second.logged)}`);
    assert.deepEqual(foreigners.offences, []);
    assert.deepEqual(await foreigners.reached(), []);
  },
  { isJournalled: false },
);
