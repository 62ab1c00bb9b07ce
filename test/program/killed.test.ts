/** The processes that bin/wakeport started, after wakeport is killed with SIGKILL. */
import assert from "node:assert/strict";
import { once } from "node:events";
import process from "node:process";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, type Peer } from "../support/net/tcp.ts";
import { childrenOf } from "../support/program/children.ts";
import { Program } from "../support/program/program.ts";
import { runs } from "../support/targets/process-subject.ts";
import { temporaryFile } from "../support/temporary-file.ts";

/** Prints the pids of its group's three members, then serves on the port in its first argument. */
const server = `const { spawn } = require("node:child_process");
const others = [1, 2].map(() => spawn("sleep", ["600"], { stdio: "ignore" }).pid);
if (process.argv[2] === "stubborn") process.on("SIGTERM", () => {});
const descriptor = { handed: 3, front: 0 }[process.argv[1]];
const where = descriptor !== undefined ? { fd: descriptor } : { port: Number(process.argv[1]), host: "127.0.0.1" };
require("node:net").createServer((client) => {
  client.on("error", () => {});
  client.write([process.pid, ...others].join(" ") + "\\n");
}).listen(where);`;

async function start(services: string): Promise<AsyncDisposable & { next: () => Promise<Program> }> {
  const stack = new AsyncDisposableStack();
  const admin = await freePort();
  const file = stack.use(
    await temporaryFile("wakeport.yaml", `admin: { listen: "127.0.0.1:${admin}" }\nservices:\n${services}`),
  );
  return {
    next: async () => {
      const program = stack.use(new Program(["run", "-c", file.path]));
      await program.logged("started");
      return program;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function kill({ child }: Program): Promise<void> {
  child.kill("SIGKILL");
  if (child.signalCode === null) await once(child, "exit");
}

/** Returns the pids of the group that serves a client. */
async function groupBehind(port: number): Promise<{ readonly pids: readonly number[]; readonly peer: Peer }> {
  const peer = await connect(port);
  await eventually("the pids of the group are received", () => peer.text.includes("\n") || peer.fate !== "open");
  const pids = peer.text.trim().split(" ").map(Number);
  assert.equal(pids.filter(runs).length, 3, peer.text);
  return { pids, peer };
}

suite("a wakeport that is killed", () => {
  for (const [what, target] of [
    [
      "a process",
      (own: number) =>
        `command: [${process.execPath}, -e, ${JSON.stringify(server)}, "${own}"], listen: "127.0.0.1:${own}"`,
    ],
    [
      "a process with a handed listener",
      () => `command: [${process.execPath}, -e, ${JSON.stringify(server)}, handed], activation: listen_fds`,
    ],
  ] as const) {
    test(`leaves no process of the group of ${what}, and the next wakeport serves`, async () => {
      const [port, own] = [await freePort(), await freePort()];
      await using wakeport = await start(`  it: { ports: ["127.0.0.1:${port}"], process: { ${target(own)} } }\n`);
      const first = await wakeport.next();
      const { pids, peer } = await groupBehind(port);
      using _peer = peer;
      await kill(first);
      await eventually(`${pids} end`, () => !pids.some(runs));
      await wakeport.next();
      const after = await groupBehind(port);
      using _after = after.peer;
      assert.deepEqual(
        after.pids.filter((pid) => pids.includes(pid)),
        [],
      );
    });
  }

  test("leaves no program with a listener, so that the next wakeport can bind the port", async () => {
    const port = await freePort();
    const command = JSON.stringify([process.execPath, "-e", server, "front"]);
    await using wakeport = await start(
      `  it: { ports: ["127.0.0.1:${port}"], inetd: { command: ${command}, wait: true } }\n`,
    );
    const first = await wakeport.next();
    const { pids, peer } = await groupBehind(port);
    using _peer = peer;
    await kill(first);
    await eventually(`${pids} end`, () => !pids.some(runs));
    await wakeport.next();
    const after = await groupBehind(port);
    after.peer[Symbol.dispose]();
  });

  test("leaves no group that ignores SIGTERM after its grace period", async () => {
    const [port, own] = [await freePort(), await freePort()];
    const command = JSON.stringify([process.execPath, "-e", server, String(own), "stubborn"]);
    await using wakeport = await start(
      `  it: { ports: ["127.0.0.1:${port}"], stop_grace: 1s, process: { command: ${command}, listen: "127.0.0.1:${own}" } }\n`,
    );
    const first = await wakeport.next();
    const { pids, peer } = await groupBehind(port);
    using _peer = peer;
    await kill(first);
    await eventually("the processes that do not ignore SIGTERM end", () => pids.filter(runs).length === 1);
    await eventually("the other processes end", () => !pids.some(runs));
  });

  test("leaves the programs of inetd clients running, and ignores processes that have ended", async () => {
    const [port, other, own] = [await freePort(), await freePort(), await freePort()];
    const command = JSON.stringify([process.execPath, "-e", server, String(own)]);
    await using wakeport = await start(
      `  cat: { ports: ["127.0.0.1:${port}"], inetd: { command: [/bin/cat] } }
  it: { ports: ["127.0.0.1:${other}"], idle_timeout: 1ms, process: { command: ${command}, listen: "127.0.0.1:${own}" } }\n`,
    );
    const first = await wakeport.next();
    using session = await connect(port);
    const { pids, peer } = await groupBehind(other);
    peer[Symbol.dispose]();
    await first.logged("target.asleep");
    assert.deepEqual(pids.filter(runs), []);
    await kill(first);
    session.send("still here");
    await session.receives(10);
  });

  test("leaves no process even if the watchdog was killed before", async () => {
    const [port, own] = [await freePort(), await freePort()];
    const command = JSON.stringify([process.execPath, "-e", server, String(own)]);
    await using wakeport = await start(
      `  it: { ports: ["127.0.0.1:${port}"], process: { command: ${command}, listen: "127.0.0.1:${own}" } }\n`,
    );
    const first = await wakeport.next();
    const { pids, peer } = await groupBehind(port);
    using _peer = peer;
    const watchdogs = (): number[] => childrenOf(first.child.pid ?? 0).filter((pid) => !pids.includes(pid));
    const [watchdog, ...more] = watchdogs();
    assert.ok(watchdog !== undefined);
    assert.deepEqual(more, []);
    // A watchdog that ends sooner is not replaced.
    await sleep(1_100);
    process.kill(watchdog, "SIGKILL");
    await eventually("the next watchdog runs", () => !watchdogs().includes(watchdog) && watchdogs().length === 1);
    // wakeport continues, so the next watchdog watches the group.
    (await groupBehind(port)).peer[Symbol.dispose]();
    await kill(first);
    await eventually(`${pids} end`, () => !pids.some(runs));
  });
});
