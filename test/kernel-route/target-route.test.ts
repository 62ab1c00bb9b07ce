/** The order of changes for one target, with a recorded table and real servers. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { suite, test } from "node:test";
import type { Lease } from "../../src/activation/lease.ts";
import type { WokenService } from "../../src/config/config.ts";
import { KeptError } from "../../src/errors.ts";
import type { Element } from "../../src/kernel-route/table.ts";
import { type RouteUse, type SharedTable, TargetRoute } from "../../src/kernel-route/target-route.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const MARK = 0x77700001;
const service = {
  name: "web",
  ports: [{ listen: 8080, target: 9090 }],
  access: { deny: [] },
} as unknown as WokenService;

/** Records the operations. The flows are those that the test sets. */
class RecordedTable implements SharedTable {
  readonly operations: string[] = [];
  readonly failures: string[] = [];
  use: RouteUse = { flows: 0, isMoved: false };
  /** Delays each operation until it is resolved. */
  gate: Promise<unknown> = Promise.resolve();
  /** Number of operations that wait for the gate. */
  waiting = 0;
  failure: Error | undefined;
  route: TargetRoute | undefined;
  #order: Promise<unknown> = Promise.resolve();

  routable(services: readonly WokenService[]): { service: WokenService; mark: number }[] {
    return services.map((one) => ({ service: one, mark: MARK }));
  }

  canReach(): boolean {
    return true;
  }

  inOrder<T>(operation: () => Promise<T>): Promise<T> {
    const done = this.#order.then(operation);
    this.#order = done.catch(() => {});
    return done;
  }

  async replace(removed: readonly Element[], added: readonly Element[]): Promise<void> {
    this.waiting += 1;
    await this.gate;
    this.waiting -= 1;
    if (this.failure !== undefined) throw this.failure;
    const addresses = (elements: readonly Element[]): string => elements.map(({ address }) => address).join();
    this.operations.push(`replace "${addresses(removed)}" by "${addresses(added)}"`);
  }

  async deleteFlows(marks: Iterable<number>, protocol: string = "all"): Promise<void> {
    this.operations.push(`delete ${protocol} flows of ${[...marks].length}`);
  }

  async poll(): Promise<void> {
    this.operations.push("poll");
    this.route?.onPolled(this.use);
  }

  onFailure(_services: readonly WokenService[], message: string): void {
    this.failures.push(message);
  }
}

interface Scene extends AsyncDisposable {
  readonly table: RecordedTable;
  readonly route: TargetRoute;
  /** The port of a server on 127.0.0.1 and 127.0.0.2. */
  readonly port: number;
  readonly leases: { isReleased: boolean }[];
}

async function open(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const server = net.createServer((socket) => socket.destroy()).listen(0, "0.0.0.0");
  await once(server, "listening");
  stack.defer(async () => {
    server.close();
    await once(server, "close");
  });
  const { port } = server.address() as net.AddressInfo;
  const table = new RecordedTable();
  const leases: { isReleased: boolean }[] = [];
  const acquire = async (): Promise<Lease> => {
    const lease = { isReleased: false };
    leases.push(lease);
    const release = (): void => {
      lease.isReleased = true;
    };
    return { signal: new AbortController().signal, [Symbol.dispose]: release } as unknown as Lease;
  };
  const route = new TargetRoute({ table, acquire, isReady: () => true });
  route.configure([service]);
  stack.defer(() => route.update(undefined));
  table.route = route;
  const owned = stack.move();
  return { table, route, port, leases, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const opened = (route: TargetRoute): Promise<void> => eventually("an open route", () => route.isOpen);

suite("TargetRoute", () => {
  test("adds elements after the target accepted a connection, and nothing for the same address", async () => {
    await using scene = await open();
    scene.route.update({ address: "127.0.0.1", port: scene.port });
    scene.route.update({ address: "127.0.0.1", port: scene.port });
    await opened(scene.route);
    assert.deepEqual(scene.table.operations, ['replace "" by "127.0.0.1"']);
  });

  test("adds nothing for a target that accepts no connection, and reports it once", async () => {
    await using scene = await open();
    scene.route.update({ address: "127.0.0.1", port: 1 });
    await eventually("a failure", () => scene.table.failures.length > 0);
    assert.deepEqual(scene.table.failures, ["127.0.0.1 accepts no connection"]);
    assert.deepEqual(scene.table.operations, []);
  });

  test("removes the elements of an address before the next one is dialled", async () => {
    await using scene = await open();
    scene.route.update({ address: "127.0.0.1", port: scene.port });
    await opened(scene.route);
    scene.route.update({ address: "127.0.0.2", port: scene.port });
    await eventually("the new address", () => scene.table.operations.length === 3);
    const expected = ['replace "" by "127.0.0.1"', 'replace "127.0.0.1" by ""', 'replace "" by "127.0.0.2"'];
    assert.deepEqual(scene.table.operations, expected);
  });

  test("beforeSleep() removes elements that are being added, then deletes UDP flows, then polls", async () => {
    await using scene = await open();
    const gate = Promise.withResolvers<void>();
    scene.table.gate = gate.promise;
    scene.route.update({ address: "127.0.0.1", port: scene.port });
    await eventually("an operation", () => scene.table.waiting > 0);
    const done = scene.route.beforeSleep();
    gate.resolve();
    await done;
    const expected = ['replace "" by "127.0.0.1"', 'replace "127.0.0.1" by ""', "delete udp flows of 1", "poll"];
    assert.deepEqual(scene.table.operations, expected);
  });

  for (const [what, use] of [
    ["open flows", { flows: 2, isMoved: false }],
    ["packets since the last poll", { flows: 0, isMoved: true }],
  ] as const) {
    test(`beforeSleep() throws KeptError for ${what}`, async () => {
      await using scene = await open();
      scene.route.update({ address: "127.0.0.1", port: scene.port });
      await opened(scene.route);
      scene.table.use = use;
      await assert.rejects(scene.route.beforeSleep(), KeptError);
    });
  }

  test("beforeSleep() throws KeptError if the elements cannot be removed", async () => {
    await using scene = await open();
    scene.route.update({ address: "127.0.0.1", port: scene.port });
    await opened(scene.route);
    scene.table.failure = new Error("nft: no answer within 10 s");
    await assert.rejects(scene.route.beforeSleep(), KeptError);
    scene.table.failure = undefined;
  });

  test("beforeSleep() without an earlier use of the target does nothing", async () => {
    await using scene = await open();
    await scene.route.beforeSleep();
    assert.deepEqual(scene.table.operations, []);
  });

  test("drop() removes the elements, then deletes all flows", async () => {
    await using scene = await open();
    scene.route.update({ address: "127.0.0.1", port: scene.port });
    await opened(scene.route);
    scene.route.drop();
    scene.route.drop();
    await eventually("no flows", () => scene.table.operations.length === 3);
    assert.deepEqual(scene.table.operations.slice(1), ['replace "127.0.0.1" by ""', "delete all flows of 1"]);
  });

  test("holds one lease while flows are open or packets are forwarded", async () => {
    await using scene = await open();
    for (const use of [
      { flows: 1, isMoved: true },
      { flows: 1, isMoved: false },
      { flows: 0, isMoved: true },
    ])
      scene.route.onPolled(use);
    assert.deepEqual(scene.leases, [{ isReleased: false }]);
    await eventually("the lease", () => scene.route.isActive);
    scene.route.onPolled({ flows: 0, isMoved: false });
    await eventually("its end", () => scene.leases[0]?.isReleased === true);
  });

  test("keeps flows and no lease at a shutdown that leaves the target running", async () => {
    await using scene = await open();
    scene.route.update({ address: "127.0.0.1", port: scene.port });
    await opened(scene.route);
    scene.route.onPolled({ flows: 1, isMoved: true });
    scene.route.shutDown(true);
    scene.route.drop();
    await eventually("no element", () => !scene.route.isOpen);
    await eventually("no lease", () => scene.leases[0]?.isReleased === true);
    assert.deepEqual(scene.table.operations.slice(1), ['replace "127.0.0.1" by ""']);
  });
});
