/** Clients that connect to the port of a process directly. */
import assert from "node:assert/strict";
import os from "node:os";
import { suite, test } from "node:test";
import { connectionsFromOutside, directConnections } from "../../src/net/direct-connections.ts";
import type { SocketRow } from "../../src/net/proc-net.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connect } from "../support/net/tcp.ts";
import { ProcessSubject, unlimited } from "../support/targets/process-subject.ts";

checkLeaks();

/** Listens on the given ports and accepts; with "to itself" it also connects to itself. */
const server = `const net = require("node:net");
const [, host, ports, own] = process.argv;
const servers = ports.split(",").map((port) => net.createServer({ allowHalfOpen: true }, (client) => {
  client.on("error", () => {});
  client.resume();
}).listen(Number(port), host));
Promise.all(servers.map((one) => new Promise((listening) => one.once("listening", listening)))).then(() => {
  if (own === undefined) console.log("at work");
  else net.connect(Number(ports), host, () => console.log("at work"));
});`;

async function listening(host: string, ports: readonly number[], ...more: readonly string[]): Promise<ProcessSubject> {
  const command = [process.execPath, "-e", server, host, ports.join(","), ...more] as const;
  const listen = { host: "127.0.0.1", port: ports[0]! };
  const subject = await ProcessSubject.of(command, { listen });
  await subject.target.start(unlimited);
  await subject.untilPrinted("at work");
  return subject;
}

const untilUse = (subject: ProcessSubject, uses: readonly string[]): Promise<void> =>
  eventually(`direct use: ${uses}`, async () => String(await subject.target.keptAwakeBy(0)) === String(uses));

const row = (local: string, remote: string, state: string, inode: number): SocketRow => {
  return { local, remote, state, inode };
};

suite("connections from outside of a network", () => {
  const own = ["172.17.0.2", "fd00::2"];
  const listens = row("00000000000000000000000000000000:1B58", "00000000000000000000000000000000:0000", "0A", 1);
  const mapped = row("0000000000000000FFFF0000020011AC:1B58", "0000000000000000FFFF0000030011AC:9000", "01", 2);
  const ipv6 = row("000000FD000000000000000002000000:1B58", "000000FD000000000000000003000000:9000", "01", 3);

  test("do not count if the client has an excluded address", { skip: os.endianness() !== "LE" }, () => {
    const rows = [listens, mapped, ipv6];
    assert.equal(connectionsFromOutside(rows, own), 2);
    assert.equal(connectionsFromOutside(rows, own, ["172.17.0.3"]), 1);
    assert.equal(connectionsFromOutside(rows, own, ["172.17.0.3", "fd00::3"]), 0);
    assert.equal(connectionsFromOutside(rows, own, ["172.17.0.4", "fd00::30", ""]), 2);
  });

  test("do not count if the local address was removed from the network", { skip: os.endianness() !== "LE" }, () => {
    const rows = [listens, mapped, ipv6];
    assert.equal(connectionsFromOutside(rows, ["fd00::2"]), 1);
    assert.equal(connectionsFromOutside(rows, ["172.17.0.9"]), 0);
  });

  test("do not count if the client is in that network", () => {
    const client = row("030011AC:9000", "020011AC:1B58", "01", 4);
    assert.equal(connectionsFromOutside([listens, mapped, client], own), 0);
  });
});

suite("keptAwakeBy() of a process target", () => {
  for (const [what, host, from] of [
    ["IPv4", "127.0.0.1", "127.0.0.1"],
    ["IPv6", "::1", "::1"],
    ["both families, by IPv4", "::", "127.0.0.1"],
    ["both families, by IPv6", "::", "::1"],
  ] as const) {
    test(`returns the number of direct connections: ${what}`, async () => {
      const port = await freePort();
      await using subject = await listening(host, [port]);
      await untilUse(subject, []);
      using peer = await connect(port, from);
      await untilUse(subject, [`1 direct connection to port ${port}`]);
      using _other = await connect(port, from);
      await untilUse(subject, [`2 direct connections to port ${port}`]);
      // After its FIN the client still waits for the answer.
      peer.end();
      await untilUse(subject, [`2 direct connections to port ${port}`]);
    });
  }

  test("returns nothing if direct traffic is ignored", async () => {
    const port = await freePort();
    await using subject = await listening("127.0.0.1", [port]);
    using _peer = await connect(port, "127.0.0.1");
    await untilUse(subject, [`1 direct connection to port ${port}`]);
    assert.deepEqual(await subject.target.keptAwakeBy(undefined), []);
  });

  test("returns nothing while dependents hold the target, because the client may be one of them", async () => {
    const port = await freePort();
    await using subject = await listening("127.0.0.1", [port]);
    using _peer = await connect(port, "127.0.0.1");
    await untilUse(subject, [`1 direct connection to port ${port}`]);
    assert.deepEqual(await subject.target.keptAwakeBy(0, unlimited, { isHeld: true }), []);
    const uses = await subject.target.keptAwakeBy(0, unlimited, { isTrafficKnown: true });
    assert.deepEqual(uses, [`1 direct connection to port ${port}`]);
  });

  test("does not count a connection that the client has closed and the server has not", async () => {
    const port = await freePort();
    await using subject = await listening("127.0.0.1", [port]);
    const peer = await connect(port);
    await untilUse(subject, [`1 direct connection to port ${port}`]);
    peer.socket.destroy();
    await untilUse(subject, []);
  });

  test("counts a client of a port that is not configured", async () => {
    const [port, other] = [await freePort(), await freePort()];
    await using subject = await listening("127.0.0.1", [port, other]);
    using _peer = await connect(other);
    await untilUse(subject, [`1 direct connection to port ${other}`]);
  });

  test("counts a client in the backlog", async () => {
    const script = "exec sleep 3600";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], {
      listen: { host: "127.0.0.1" },
      listenerName: "web",
      env: { PATH: "/usr/bin:/bin" },
    });
    await subject.target.start(unlimited);
    const status = await subject.target.inspect();
    assert.ok(status.up && status.port !== undefined);
    using _peer = await connect(status.port);
    await untilUse(subject, [`1 direct connection to port ${status.port}`]);
  });

  test("does not count a connection of the process to itself", async () => {
    const port = await freePort();
    await using subject = await listening("127.0.0.1", [port], "to itself");
    assert.deepEqual(await subject.target.keptAwakeBy(0), []);
  });

  test("returns nothing while the target is down", async () => {
    const port = await freePort();
    await using subject = await listening("127.0.0.1", [port]);
    await subject.target.sleep("stop", unlimited);
    assert.deepEqual(await subject.target.keptAwakeBy(0), []);
  });

  test("uses the configured port if the sockets cannot be read", () => {
    const rows = [
      row("0100007F:1538", "00000000:0000", "0A", 1),
      row("0100007F:1538", "0A00000A:9000", "01", 2),
      row("0100007F:1539", "0A00000A:9001", "01", 3),
    ];
    assert.deepEqual([...directConnections(rows, new Set(), 0x1538)], [[0x1538, 1]]);
    assert.deepEqual([...directConnections(rows, new Set([4]), 0x1538)], []);
  });
});
