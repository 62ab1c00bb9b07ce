/** Two hundred connections live through the end of the engine, in good order or not, where containers outlive it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openSockets, violations } from "../support/activation/invariants.ts";
import type { TestContainer } from "../support/engine/containers.ts";
import { isProxied, NarrowProxy } from "../support/engine/narrow-proxy.ts";
import { cannotHaveEngine, PrivateEngine } from "../support/engine/private-engine.ts";
import { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import type { Peer } from "../support/net/tcp.ts";

checkLeaks();

const CONNECTIONS = 200;
/** How many are opened at a time: the target's backlog is short. */
const AT_ONCE = 4;
/** How many bytes a word has. */
const WORD = 8;
const PAUSE_MS = 50;
/** The engine makes its network rules anew when it starts: what is lost meanwhile TCP sends again, after longer and longer. */
const PATIENCE_MS = 60_000;

/** A connection on which a word goes there and back again and again, and is compared. */
class Talk {
  readonly #peer: Peer;
  #sent = "";
  #isOver = false;

  constructor(peer: Peer) {
    this.#peer = peer;
  }

  /** How many words have come back. */
  get words(): number {
    return this.#peer.received / WORD;
  }

  /** Undefined for one that is open and received nothing but what it sent. */
  get fault(): string | undefined {
    const { fate, text } = this.#peer;
    if (fate !== "open") return fate;
    return this.#sent.startsWith(text) ? undefined : "received something else";
  }

  /** Sends a word whenever the one before it is back, until it is told to end. */
  async go(): Promise<void> {
    for (let number = 0; !this.#isOver && this.#peer.fate === "open"; number += 1) {
      const word = String(number).padStart(WORD, "0");
      this.#sent += word;
      this.#peer.send(word);
      const isBack = (): boolean => this.#peer.received >= this.#sent.length || this.#peer.fate !== "open";
      await eventually("a word is back", isBack, PATIENCE_MS);
      await delay(PAUSE_MS);
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    this.#peer.end();
    await this.#peer.closes();
  }
}

/** Waits until two more words have come back on every connection: sent and received after this moment. */
async function flowing(talks: readonly Talk[]): Promise<void> {
  const before = talks.map(({ words }) => words);
  const isFlowing = (talk: Talk, index: number): boolean =>
    talk.fault !== undefined || talk.words >= before[index]! + 2;
  await eventually("data flows on all connections", () => talks.every(isFlowing), PATIENCE_MS);
  const faults = talks.map(({ fault }) => fault).filter((fault) => fault !== undefined);
  assert.deepEqual(faults, [], `${faults.length} of ${talks.length} are broken`);
}

async function open(wakeport: Wakeport): Promise<Talk[]> {
  const talks: Talk[] = [];
  while (talks.length < CONNECTIONS) {
    const some = await Promise.all(Array.from({ length: AT_ONCE }, () => wakeport.connect("echo")));
    talks.push(...some.map((peer) => new Talk(peer)));
  }
  return talks;
}

async function isSameLife(target: TestContainer, pid: number | undefined): Promise<boolean> {
  return (await target.state())?.Pid === pid;
}

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`${CONNECTIONS} connections live through a ${signal} of the engine`, { skip: cannotHaveEngine }, async () => {
    const before = openSockets();
    {
      await using engine = await PrivateEngine.open("--live-restore");
      await using proxy = isProxied ? await NarrowProxy.open({ socketPath: engine.socketPath }) : undefined;
      const target = await engine.echo();
      const host = proxy?.host ?? engine.host;
      await using wakeport = await Wakeport.open({ echo: { to: target, idle_timeout: "300ms" } }, { docker: { host } });
      const talks = await open(wakeport);
      const talking = talks.map((talk) => talk.go());
      await flowing(talks);
      const pid = (await target.state())?.Pid;

      await engine.kill(signal);
      await eventually("it is reported down", () => !wakeport.isEngineUp);
      await flowing(talks);
      await engine.start();
      await eventually("it is reported up", () => wakeport.isEngineUp);
      await flowing(talks);

      assert.ok(await isSameLife(target, pid), "it was started anew");
      await Promise.all(talks.map((talk) => talk.end()));
      await Promise.all(talking);
      await wakeport.until("echo", "asleep");
      await wakeport.settle();
      await wakeport.close();
      assert.deepEqual(violations(wakeport.evidence), []);
      const outcomes = new Set(wakeport.record.connections.map(({ outcome }) => outcome));
      assert.deepEqual([...outcomes], ["relayed"]);
    }
    await eventually("I5: no socket is left open", () => openSockets() <= before);
  });
}
