/** Two hundred connections survive SIGTERM and SIGKILL of an engine with `live-restore`. */
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
/** The number of connections opened at a time: the target's backlog is short. */
const AT_ONCE = 4;
/** Bytes of a word. */
const WORD = 8;
const PAUSE_MS = 50;
/** The engine recreates its network rules when it starts. TCP retransmits the lost segments with growing delays. */
const PATIENCE_MS = 60_000;

/** A connection on which words are sent and their echoes compared. */
class Talk {
  readonly #peer: Peer;
  #sent = "";
  #isOver = false;

  constructor(peer: Peer) {
    this.#peer = peer;
  }

  /** The number of received echoes. */
  get words(): number {
    return this.#peer.received / WORD;
  }

  /** Undefined if the connection is open and all echoes were correct. */
  get fault(): string | undefined {
    const { fate, text } = this.#peer;
    if (fate !== "open") return fate;
    return this.#sent.startsWith(text) ? undefined : "received something else";
  }

  /** Sends a word after each echo, until it is stopped. */
  async go(): Promise<void> {
    for (let number = 0; !this.#isOver && this.#peer.fate === "open"; number += 1) {
      const word = String(number).padStart(WORD, "0");
      this.#sent += word;
      this.#peer.send(word);
      const isBack = (): boolean => this.#peer.received >= this.#sent.length || this.#peer.fate !== "open";
      await eventually("a word is echoed", isBack, PATIENCE_MS);
      await delay(PAUSE_MS);
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    this.#peer.end();
    await this.#peer.closes();
  }
}

/** Waits for two more echoes on every connection: the second word is sent after this moment. */
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
  test(`${CONNECTIONS} connections survive a ${signal} of the engine`, { skip: cannotHaveEngine }, async () => {
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
      await eventually("the engine is reported down", () => !wakeport.isEngineUp);
      await flowing(talks);
      await engine.start();
      await eventually("the engine is reported up", () => wakeport.isEngineUp);
      await flowing(talks);

      assert.ok(await isSameLife(target, pid), "the target was restarted");
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
