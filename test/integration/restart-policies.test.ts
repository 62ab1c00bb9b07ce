/** The restart policies that keep a sleeping container asleep when the Docker daemon restarts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { restartWarning } from "../../src/targets/container-warnings.ts";
import type { TestContainer } from "../support/engine/containers.ts";
import { cannotHaveEngine, PrivateEngine } from "../support/engine/private-engine.ts";
import { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const policies = ["no", "unless-stopped", "on-failure", "always"] as const;
/** A program that exits with 0 on SIGTERM, and one that must be killed (exit code 137). */
const programs = {
  obedient: 'trap "exit 0" TERM; nc -ll -p 7000 -e cat & wait',
  killed: "trap '' TERM; exec nc -ll -p 7000 -e cat",
} as const;

type Targets = ReadonlyMap<string, TestContainer>;

/** One container for each policy and program, named `always-killed`. */
async function create(engine: PrivateEngine): Promise<Targets> {
  const targets = new Map<string, TestContainer>();
  for (const restart of policies) {
    for (const [program, script] of Object.entries(programs)) {
      const container = await engine.containers.container({ command: ["sh", "-c", script], restart });
      targets.set(`${restart}-${program}`, container);
    }
  }
  return targets;
}

/** Wakes all targets, then waits until wakeport has stopped them. */
async function wakeAndSleep(engine: PrivateEngine, targets: Targets): Promise<void> {
  const settings = { idle_timeout: "200ms", stop_grace: "1s" };
  const services = Object.fromEntries([...targets].map(([name, to]) => [name, { to, ...settings }]));
  await using wakeport = await Wakeport.open(services, { docker: { host: engine.host } });
  for (const name of targets.keys()) {
    using peer = await wakeport.connect(name);
    peer.send("hello");
    await eventually("an echo", () => peer.text === "hello");
  }
  for (const name of targets.keys()) await wakeport.until(name, "asleep");
  await wakeport.close();
}

/** The names of the running targets. */
async function awake(targets: Targets): Promise<string[]> {
  const states = await Promise.all(
    [...targets].map(async ([name, target]) => ((await target.isAwake()) ? [name] : [])),
  );
  return states.flat();
}

test("only restart policies that wakeport warns about wake a target when the daemon restarts", {
  skip: cannotHaveEngine,
}, async () => {
  await using engine = await PrivateEngine.open();
  const targets = await create(engine);
  await wakeAndSleep(engine, targets);
  assert.deepEqual(await awake(targets), []);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    await engine.kill(signal);
    await engine.start();
    assert.deepEqual(await awake(targets), ["on-failure-killed", "always-obedient", "always-killed"], signal);
  }
  const warned = policies.filter((restartPolicy) => restartWarning({ name: "db", restartPolicy }) !== undefined);
  assert.deepEqual(warned, ["on-failure", "always"]);
});
