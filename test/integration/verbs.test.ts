/**
 * Another program does random things to ten targets while clients connect. The state in wakeport's status is true a second
 * after the last change, wakeport stops only its targets, and no client hangs. WAKEPORT_TEST_VERBS is the number of things
 * (500 in a long run), WAKEPORT_TEST_SEED their seed.
 */
// runs alone: the status must be true a second after each change
import assert from "node:assert/strict";
import { test } from "node:test";
import { scheduler } from "node:timers/promises";
import type { ServiceStatus } from "../../src/admin/api.ts";
import { openSockets, violations } from "../support/activation/invariants.ts";
import { Lab, skip } from "../support/engine/lab.ts";
import { doRandomly, randomFrom, Victim } from "../support/engine/verbs.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const TARGETS = 10;
const CLIENTS_PER_S = 20;
/** A start on a busy machine, after the end of a stop, and the two seconds for a replacement. */
const START_TIMEOUT_S = 8;
const STOP_GRACE_S = 2;
/** The longest time of a client: a start, the stop before it, and a pause until the next client ends it. */
const CLIENT_LIMIT_MS = (START_TIMEOUT_S + STOP_GRACE_S + 3) * 1_000;
/** The longest difference between the status and the engine after a change. */
const TRUE_AFTER_MS = 1_000;
const LOOK_EVERY_MS = 100;
const { WAKEPORT_TEST_VERBS: verbs = "80", WAKEPORT_TEST_SEED: fixedSeed } = process.env;

/** The engine's state of one target. */
interface Truth {
  readonly isThere: boolean;
  readonly isRunning: boolean;
  readonly isPaused: boolean;
  /** Identifies the relevant state. */
  readonly key: string;
}

async function truthOf(lab: Lab, victim: Victim): Promise<Truth> {
  const found = await lab.engine.docker
    .getContainer(victim.container.id)
    .inspect()
    .catch(() => undefined);
  const isThere = found?.Name === `/${victim.name}`;
  const { Running: isRunning = false, Paused: isPaused = false, StartedAt = "" } = found?.State ?? {};
  return { isThere, isRunning, isPaused, key: [victim.container.id, isThere, isRunning, isPaused, StartedAt].join() };
}

/** Returns undefined if the status is true, otherwise the difference. */
function lie({ state }: ServiceStatus, { isThere, isRunning, isPaused }: Truth): string | undefined {
  // Transient states have their own limits.
  if (state === "starting" || state === "stopping") return undefined;
  if (state === "missing") return isThere ? "called missing, and exists" : undefined;
  if (state === "ready") return isRunning && !isPaused ? undefined : "called ready, and does not run";
  if (state === "paused") return isPaused ? undefined : "called paused, and is not";
  // A renamed container is not a target.
  if (!isThere) return `called ${state}, and missing`;
  return isRunning ? "called asleep, and runs" : undefined;
}

/** Compares the status with the engine repeatedly. */
class Auditor {
  readonly lies: string[] = [];
  worstMs = 0;
  readonly #status: () => ServiceStatus;
  #key = "";
  #trueSince = 0;
  #state = "";
  #stateSince = 0;

  constructor(reported: () => ServiceStatus) {
    this.#status = reported;
  }

  audit(before: ServiceStatus, truth: Truth): void {
    const now = performance.now();
    const reported = this.#status();
    if (truth.key !== this.#key) [this.#key, this.#trueSince] = [truth.key, now];
    if (reported.state !== this.#state) [this.#state, this.#stateSince] = [reported.state, now];
    const passingMs = now - this.#stateSince;
    if ((reported.state === "starting" || reported.state === "stopping") && passingMs > CLIENT_LIMIT_MS) {
      this.#found(reported, `still ${reported.state} after ${Math.round(passingMs)} ms`);
    }
    // The state changed during the inspection.
    if (before.state !== reported.state) return;
    const found = lie(reported, truth);
    if (found === undefined) return;
    const forMs = now - Math.max(this.#trueSince, this.#stateSince);
    this.worstMs = Math.max(this.worstMs, forMs);
    if (forMs > TRUE_AFTER_MS) this.#found(reported, `${found}, for ${Math.round(forMs)} ms (${truth.key})`);
  }

  #found({ name, cause }: ServiceStatus, what: string): void {
    this.lies.push(`I7: ${name} is ${what}; its cause: ${cause}`);
  }
}

/** Compares all targets until it is stopped. @returns all differences */
async function auditAll(
  lab: Lab,
  wakeport: Wakeport,
  victims: readonly Victim[],
  signal: AbortSignal,
): Promise<Auditor[]> {
  const auditors = victims.map(({ service }) => new Auditor(() => statusOf(wakeport, service)));
  while (!signal.aborted) {
    for (const [index, victim] of victims.entries()) {
      const before = statusOf(wakeport, victim.service);
      const { container } = victim;
      const truth = await truthOf(lab, victim);
      if (container === victim.container) auditors[index]?.audit(before, truth);
    }
    await scheduler.wait(LOOK_EVERY_MS);
  }
  return auditors;
}

function statusOf(wakeport: Wakeport, service: string): ServiceStatus {
  const found = wakeport.status.services.find(({ name }) => name === service);
  assert.ok(found);
  return found;
}

/** One client that expects an echo. @returns its outcome */
async function visit(wakeport: Wakeport, service: string): Promise<string> {
  using peer = await wakeport.connect(service);
  peer.send("word\n");
  const limit = performance.now() + CLIENT_LIMIT_MS;
  while (peer.fate === "open" && peer.text !== "word\n") {
    if (performance.now() > limit) return `hung (${service}, ${JSON.stringify(statusOf(wakeport, service))})`;
    await scheduler.wait(5);
  }
  if (peer.text === "word\n") return "an echo";
  return peer.fate;
}

/** Connects clients until it is stopped. @returns the number of each outcome */
async function crowd(
  wakeport: Wakeport,
  victims: readonly Victim[],
  random: () => number,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const visits: Promise<string>[] = [];
  while (!signal.aborted) {
    const { service } = victims[Math.floor(random() * victims.length)]!;
    visits.push(visit(wakeport, service));
    await scheduler.wait(1_000 / CLIENTS_PER_S);
  }
  return countsOf(await Promise.all(visits));
}

function countsOf(fates: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const fate of fates) counts.set(fate, (counts.get(fate) ?? 0) + 1);
  return counts;
}

function written(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([what, count]) => `${count} ${what}`).join(", ");
}

test(`${verbs} random actions of another program on ten targets with clients`, { skip }, async (t) => {
  const seed = fixedSeed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(fixedSeed);
  t.diagnostic(`to replay: WAKEPORT_TEST_SEED=${seed} WAKEPORT_TEST_VERBS=${verbs}`);
  const sockets = openSockets();
  {
    await using lab = await Lab.open();
    const ref: { wakeport?: Wakeport } = {};
    const victims = await Promise.all(
      Array.from({ length: TARGETS }, (_, index) =>
        Victim.create(lab, `s${index}`, (next) => ref.wakeport?.mayUse(`s${index}`, next)),
      ),
    );
    const policy = { idle_timeout: "2s", start_timeout: `${START_TIMEOUT_S}s`, stop_grace: `${STOP_GRACE_S}s` };
    const wakeport = await lab.wakeport(
      Object.fromEntries(victims.map(({ service, container }) => [service, { to: container, ...policy }])),
    );
    ref.wakeport = wakeport;
    const over = new AbortController();
    const clients = crowd(wakeport, victims, randomFrom(seed + 1), over.signal);
    const audits = auditAll(lab, wakeport, victims, over.signal);
    const done = await doRandomly(victims, Number(verbs), randomFrom(seed));
    for (const victim of victims) await victim.recover();
    over.abort();
    const fates = await clients;
    const auditors = await audits;
    t.diagnostic(`done: ${written(done)}`);
    t.diagnostic(`clients: ${written(fates)}`);
    t.diagnostic(`untrue for at most ${Math.round(Math.max(...auditors.map(({ worstMs }) => worstMs)))} ms`);
    await wakeport.settle();
    await wakeport.close();
    await lab.engine.catchUp();
    const wrong = violations({ ...wakeport.evidence, journal: lab.engine });
    const hung = [...fates.keys()].filter((fate) => fate.startsWith("hung"));
    assert.deepEqual([...wrong, ...auditors.flatMap(({ lies }) => lies), ...hung], []);
  }
  await eventually("I5: no socket is left open", () => openSockets() <= sockets);
});
