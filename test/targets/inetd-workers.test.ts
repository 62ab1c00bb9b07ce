/** Programs of clients that are still being started. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Client } from "../../src/proxy/handlers/handler.ts";
import { InetdNowait } from "../../src/proxy/handlers/inetd-nowait.ts";
import { Workers } from "../../src/targets/inetd-workers.ts";
import { NodeSpawner } from "../../src/targets/node-spawner.ts";
import { Launcher } from "../../src/targets/spawn.ts";
import type { Child, Spawner } from "../../src/targets/spawner.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { pair } from "../support/net/tcp.ts";
import { runs } from "../support/targets/process-subject.ts";

checkLeaks();

/** Starts programs that wait, but only when the gate is opened. */
class Gate implements Spawner {
  readonly #node = new NodeSpawner();
  readonly #opened = Promise.withResolvers<void>();
  readonly started: Child[] = [];

  async spawn(request: Parameters<Spawner["spawn"]>[0]): Promise<Child> {
    await this.#opened.promise;
    const child = await this.#node.spawn({ ...request, stdio: ["ignore", "ignore", "ignore"] });
    this.started.push(child);
    return child;
  }

  open(): void {
    this.#opened.resolve();
  }

  /** PIDs of the started programs that have not ended. */
  get running(): number[] {
    return this.started.map(({ pid }) => pid).filter(runs);
  }
}

function workersOf(gate: Gate): { readonly workers: Workers; readonly busy: Set<Workers> } {
  const busy = new Set<Workers>();
  const launcher = new Launcher({ command: ["/bin/sleep", "600"], env: {} }, () => gate);
  return { workers: new Workers({ launcher, graceMs: 5_000, busy, onLine: () => {} }), busy };
}

suite("a program that is still being started", () => {
  test("is ended when its workers are closed", async () => {
    const gate = new Gate();
    const { workers, busy } = workersOf(gate);
    const starting = workers.start(["ignore", "ignore", "ignore"]);
    assert.ok(busy.has(workers));
    const closed = workers.close(50);
    gate.open();
    await Promise.all([starting, closed]);
    assert.equal(gate.started.length, 1);
    assert.deepEqual(gate.running, []);
    await eventually("the workers are not busy", () => busy.size === 0);
  });

  test("is killed if its client is evicted meanwhile, and the client is reset", async () => {
    const gate = new Gate();
    const { workers, busy } = workersOf(gate);
    const evicted = new AbortController();
    const { near: socket, far } = await pair();
    using _far = far;
    const opened = (): void => assert.fail("the client was served");
    const client: Partial<Client> = { socket, signal: evicted.signal, opened };
    const served = new InetdNowait(workers, "log").serve(client as Client);
    evicted.abort(new Error("evicted"));
    gate.open();
    await assert.rejects(served, /evicted/);
    await eventually("the program ends", () => gate.started.length === 1 && gate.running.length === 0);
    // The program shared its connection and left it blocking, so nothing may be read or written.
    assert.ok(socket.destroyed);
    assert.equal(await far.ended(), "ECONNRESET");
    await eventually("the workers are not busy", () => busy.size === 0);
  });
});
