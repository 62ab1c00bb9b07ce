/** Data connections between real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ClosedError, ExitedError } from "../../../src/activation/errors.ts";
import { readIp } from "../../../src/net/ip.ts";
import { nodeRelayer } from "../../../src/net/relay.ts";
import { type ControlConnection, DataPorts } from "../../../src/proxy/data-ports.ts";
import { DataPortHandler } from "../../../src/proxy/handlers/data-port.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { PeerServer } from "../../support/net/tcp.ts";
import { DirectFront } from "../../support/proxy/listener.ts";

checkLeaks();

const LISTEN_PORT = 30_000;

interface Stage extends AsyncDisposable {
  readonly listenPort: DirectFront;
  readonly control: ControlConnection;
  readonly lost: AbortController;
  /** Numbers of reported activities and disposed leases. */
  readonly counts: { activity: number; released: number };
}

async function stage(): Promise<Stage> {
  const dataPorts = new DataPorts();
  dataPorts.configure([{ port: LISTEN_PORT }]);
  const counts = { activity: 0, released: 0 };
  const lost = new AbortController();
  const release = (): void => {
    counts.released += 1;
  };
  const recordActivity = (): void => {
    counts.activity += 1;
  };
  const hold = { signal: lost.signal, [Symbol.dispose]: release };
  const ip = readIp("127.0.0.1")!;
  const control = dataPorts.join({
    ips: [ip],
    listenAddress: "127.0.0.1",
    upstreamAddress: "127.0.0.1",
    localAddress: "127.0.0.9",
    lease: hold,
  });
  const listenPort = await DirectFront.open(
    new DataPortHandler({ dataPorts, activator: { recordActivity }, relayer: nodeRelayer, listener: LISTEN_PORT }),
  );
  return { listenPort, control, lost, counts, [Symbol.asyncDispose]: () => listenPort[Symbol.asyncDispose]() };
}

suite("a data connection", () => {
  test("has the address of its control connection, and outlives it", async () => {
    await using server = await PeerServer.open();
    await using at = await stage();
    at.control.reserve(server.port);
    using client = at.listenPort.connect();
    const served = await server.accepted();
    assert.equal(served.socket.remoteAddress, "127.0.0.9");
    at.control[Symbol.dispose]();
    assert.equal(at.counts.released, 0);
    served.end("all of the file");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "all of the file");
    client.end();
    const [report] = await at.listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.end, report?.bytesOut], ["relayed", "clean", 15]);
    assert.deepEqual(at.counts, { activity: 2, released: 1 });
  });

  test("is denied if its control connection has ended", async () => {
    await using at = await stage();
    at.control[Symbol.dispose]();
    using client = at.listenPort.connect();
    const [report] = await at.listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.reason], ["denied_address", "no_control"]);
    assert.equal(await client.ended(), "ECONNRESET");
    assert.deepEqual(at.counts, { activity: 0, released: 1 });
  });

  test("fails and keeps no lease if the server refuses it", async () => {
    await using at = await stage();
    at.control.reserve(await freePort());
    using client = at.listenPort.connect();
    assert.equal((await at.listenPort.reported(1))[0]?.outcome, "dial_failed");
    assert.equal(await client.ended(), "ECONNRESET");
    at.control[Symbol.dispose]();
    assert.equal(at.counts.released, 1);
  });

  test("ends with its target, and when the service drains", async () => {
    for (const [reason, end] of [
      [new ExitedError("ftp", {}), "target_gone"],
      [new ClosedError("ftp is being shut down"), "drained"],
    ] as const) {
      await using server = await PeerServer.open();
      await using at = await stage();
      at.control.reserve(server.port);
      using client = at.listenPort.connect();
      await server.accepted();
      await eventually("the connection is served", () => at.counts.activity === 1);
      at.lost.abort(reason);
      assert.equal((await at.listenPort.reported(1))[0]?.end, end);
      await client.closes();
    }
  });
});
