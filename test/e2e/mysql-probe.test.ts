/** Probes of a real MariaDB must not make it block their host. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { suite, test } from "node:test";
import { protocolProbe } from "../../src/readiness/protocol.ts";
import { tcpProbe } from "../../src/readiness/tcp.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { cannotServe, Servers } from "../support/program/servers.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const MAX_ERRORS = 5;
const PROBES = 3 * MAX_ERRORS;
/** ER_HOST_IS_BLOCKED */
const BLOCKED = 1129;

/** The server never blocks a loopback address. */
const address = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === "IPv4")?.address;
const skip = cannotServe() ?? (address === undefined && "this machine has only loopback addresses");

suite("probes of MariaDB", { skip }, () => {
  test("do not count as connection errors, unlike connections that are closed after the handshake", async () => {
    const host = address ?? "";
    await using servers = await Servers.make();
    const port = await freePort();
    const [file = "", ...args] = servers.of("mysql", port).command;
    // Without a user for the address, the server rejects connections without counting them.
    await using init = await temporaryFile("init.sql", "CREATE USER 'app'@'%' IDENTIFIED BY 'secret';\n");
    const more = [`--init-file=${init.path}`, `--bind-address=${host}`, `--max-connect-errors=${MAX_ERRORS}`];
    const server = spawn(file, [...args, ...more], { stdio: "ignore" });
    await using stack = new AsyncDisposableStack();
    stack.defer(async () => {
      const exited = once(server, "exit");
      server.kill("SIGKILL");
      await exited;
    });
    const signal = AbortSignal.timeout(60_000);
    for (let count = 0; count < PROBES; count += 1) {
      await protocolProbe(port, "mysql").check({ address: host }, signal);
    }
    assert.notEqual(await errorOf(port, host), BLOCKED);
    for (let count = 0; count < PROBES; count += 1) await tcpProbe(port).check({ address: host }, signal);
    await eventually("the host is blocked", async () => (await errorOf(port, host)) === BLOCKED);
  });
});

/** Returns undefined if the server sends its handshake, otherwise the number of the error that it sends. */
async function errorOf(port: number, host: string): Promise<number | undefined> {
  using peer = await connect(port, host);
  await peer.receives(7);
  return peer.data[4] === 0xff ? peer.data.readUInt16LE(5) : undefined;
}
