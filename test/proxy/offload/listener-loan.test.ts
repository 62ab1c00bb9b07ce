import assert from "node:assert/strict";
import net from "node:net";
import { suite, test } from "node:test";
import type { Lease } from "../../../src/activation/lease.ts";
import { KeptError } from "../../../src/errors.ts";
import { Listener } from "../../../src/proxy/listen/listener.ts";
import { ListenerPool } from "../../../src/proxy/listen/listener-pool.ts";
import { ListenerLoan, type LoanTerms } from "../../../src/proxy/offload/listener-loan.ts";
import { type OffloadPort, TargetOffload } from "../../../src/proxy/offload/target-offload.ts";
import { usePlane } from "../../support/dataplane/plane.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { connect, countDialling, deafPort, PeerServer } from "../../support/net/tcp.ts";

const plane = usePlane();
checkLeaks();

/** A listener with a loan. */
class Loaned implements AsyncDisposable {
  readonly inNode: net.Socket[] = [];
  readonly loan: ListenerLoan;
  readonly listener: Listener;
  inDataPlane = 0;

  private constructor() {
    const keep = (client: net.Socket): void => void this.inNode.push(client.on("error", () => {}));
    this.listener = new Listener("web", { address: "127.0.0.1", port: 0 }, keep);
    this.loan = new ListenerLoan({ dataPlane: plane, listener: this.listener, onReturned: keep });
  }

  static async open(): Promise<Loaned> {
    const loaned = new Loaned();
    await loaned.listener.open();
    return loaned;
  }

  terms(port: number): LoanTerms {
    return {
      upstream: { address: "127.0.0.1", port },
      maxDials: 4,
      limit: 10_000,
      onAccepted: () => {
        this.inDataPlane += 1;
        return { count: () => {}, end: () => {}, returned: () => {} };
      },
      onLent: () => {},
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.loan.want(undefined);
    this.listener.close();
    for (const client of this.inNode) client.destroy();
    await eventually("the connections ended", () => plane.view.connections === 0);
  }
}

suite("a loan of a listener", () => {
  test("applies the last terms of a turn", async () => {
    await using server = await PeerServer.open();
    await using loaned = await Loaned.open();
    const { loan, listener } = loaned;
    void loan.want(loaned.terms(server.port));
    await loan.want(undefined);
    using first = await connect(listener.port);
    await eventually("Node accepts", () => loaned.inNode.length === 1);
    void loan.want(undefined);
    await loan.want(loaned.terms(server.port));
    using second = await connect(listener.port);
    await eventually("the data plane accepts", () => loaned.inDataPlane === 1);
    for (const client of [first, second]) client.reset();
  });

  test("waits until a program gives the listener back", async () => {
    await using server = await PeerServer.open();
    await using loaned = await Loaned.open();
    const { loan, listener } = loaned;
    // As for a program of inetd with `wait: true`.
    listener.pause();
    await loan.want(loaned.terms(server.port));
    assert.equal(plane.view.listeners, 0);
    using client = await connect(listener.port);
    listener.resume();
    await eventually("the data plane has the listener", () => plane.view.listeners === 1);
    await eventually("the client is accepted", () => loaned.inDataPlane + loaned.inNode.length === 1);
    client.reset();
  });

  test("leaves the clients to Node if this Node cannot pause a listener", async () => {
    const internals: { _createServerHandle?: unknown } = net as object;
    const { _createServerHandle } = internals;
    await using server = await PeerServer.open();
    try {
      delete internals._createServerHandle;
      await using loaned = await Loaned.open();
      await loaned.loan.want(loaned.terms(server.port));
      using client = await connect(loaned.listener.port);
      await eventually("Node accepts", () => loaned.inNode.length === 1);
      assert.equal(plane.view.listeners, 0);
      client.reset();
    } finally {
      internals._createServerHandle = _createServerHandle;
    }
  });

  test("keeps the target once for clients that were accepted before it was taken back", async () => {
    await using server = await PeerServer.open();
    await using loaned = await Loaned.open();
    let limit = 10_000;
    const lease = { signal: new AbortController().signal, [Symbol.dispose]: () => {} } as Lease;
    const offload = new TargetOffload({ acquire: async () => lease, isReady: () => true, limit: () => limit });
    const port = {
      connections: { open: new Set(), active: 0, meter: { in: 0, out: 0 } },
      observer: { connectionOpened: () => {}, connection: () => {} },
      nextId: () => 1,
      count: () => ({ [Symbol.dispose]: () => {} }),
      targetPort: server.port,
      maxDials: 4,
    } as unknown as OffloadPort;
    using _added = offload.add(port, loaned.loan);
    offload.update({ address: "127.0.0.1", port: server.port } as never, false);
    assert.ok(offload.isOpen);
    using client = await connect(loaned.listener.port);
    await server.accepted();
    // The report about the client is still in its batch.
    limit = 0;
    offload.reconsider();
    assert.equal(port.connections.active, 0);
    await eventually("the client is reported", () => port.connections.active === 1);
    client.reset();
    await eventually("its end is reported", () => port.connections.active === 0 && plane.view.connections === 0);
    await assert.rejects(offload.beforeSleep(), KeptError);
    await offload.beforeSleep();
  });

  test("does not forget a client whose dial fails after its listener was closed", async () => {
    await using deaf = await deafPort();
    const listener = { address: "127.0.0.1", port: await freePort() };
    const unrouted: net.Socket[] = [];
    const pool = new ListenerPool((client, _listener, routeTable) => {
      assert.equal(routeTable(), undefined);
      unrouted.push(client.on("error", () => {}));
    }, plane);
    await pool.bind([{ service: "web", listener }]);
    const lend = (loan: ListenerLoan): Disposable => {
      const onAccepted = () => ({ count: () => {}, end: () => {}, returned: () => {} });
      const upstream = { address: "127.0.0.1", port: deaf.port };
      void loan.want({ upstream, maxDials: 4, limit: 10_000, onAccepted, onLent: () => {} });
      return { [Symbol.dispose]: () => void loan.want(undefined) };
    };
    pool.setRoutes([{ listener, route: { service: "web" } as never, receive: [], offload: lend }]);
    const before = countDialling(deaf.port);
    using client = await connect(listener.port);
    await eventually("the data plane dials", () => countDialling(deaf.port) > before);
    pool.removeRoutes("web");
    // The dial fails after 3 s.
    await eventually("the client is passed on", () => unrouted.length === 1);
    client.reset();
    unrouted[0]!.destroy();
  });
});
