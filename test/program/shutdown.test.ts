/** SIGTERM to the real program: open connections may finish, new clients are refused, and shutdown ends. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, PeerServer } from "../support/net/tcp.ts";
import { Bench } from "../support/program/reloading.ts";

suite("wakeport run after SIGTERM", () => {
  test("lets a forwarded connection finish", async () => {
    await using upstream = await PeerServer.open();
    const listenPort = await freePort();
    await using bench = await Bench.start(
      `  a: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${upstream.port}" }\n`,
    );
    using client = await connect(listenPort);
    client.send("hello");
    await eventually("the upstream receives the bytes", () => upstream.peers[0]?.text === "hello");
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    client.send(" again");
    await eventually("the upstream receives the rest", () => upstream.peers[0]?.text === "hello again");
    upstream.peers[0]?.end("bye");
    client.end();
    await eventually("the client receives the reply", () => client.text === "bye");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(client.fate, "ended");
  });

  test("resets a forwarded connection at the drain deadline", async () => {
    await using upstream = await PeerServer.open();
    const listenPort = await freePort();
    const service = `  a: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${upstream.port}" }\n`;
    await using bench = await Bench.start(`${service}shutdown: { drain: 100ms }`);
    using client = await connect(listenPort);
    client.send("hello");
    await eventually("the upstream receives the bytes", () => upstream.peers[0]?.text === "hello");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    await eventually("the client is reset", () => client.fate === "ECONNRESET");
  });

  test("leaves no program at a second signal, also if many are being started", async () => {
    const listenPort = await freePort();
    // A large environment makes each start slow.
    const command = `command: [/bin/sleep, "60.${listenPort}"], env: { A: "${"x".repeat(100_000)}", B: "${"x".repeat(100_000)}" }`;
    const isProgram = (pid: string): boolean => commandLineOf(pid).includes(`/bin/sleep 60.${listenPort}`);
    const programs = (): string[] => readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && isProgram(pid));
    for (let round = 0; round < 3; round += 1) {
      await using bench = await Bench.start(`  a: { ports: ["127.0.0.1:${listenPort}"], inetd: { ${command} } }\n`);
      const connecting = Array.from({ length: 150 }, () => connect(listenPort));
      const { child } = bench.program;
      await eventually("some programs run", () => programs().length > 0);
      // Two signals of the same name could arrive as one.
      child.kill("SIGTERM");
      child.kill("SIGINT");
      assert.equal((await bench.program.finished()).code, 1);
      await eventually("all programs end", () => programs().length === 0);
      for (const client of await Promise.allSettled(connecting)) {
        if (client.status === "fulfilled") client.value[Symbol.dispose]();
      }
    }
  });

  test("starts no program for waiting clients when it ends a program", async () => {
    const listenPort = await freePort();
    const limits = "limits: { connections: 1, on_limit: queue }";
    const service = `  a: { ports: ["127.0.0.1:${listenPort}"], inetd: { command: [/bin/cat] }, ${limits} }\n`;
    await using bench = await Bench.start(`${service}shutdown: { drain: 100ms }`);
    using first = await connect(listenPort);
    first.send("one");
    await eventually("an echo", () => first.text === "one");
    using second = await connect(listenPort);
    second.send("two");
    await eventually(
      "one client is waiting",
      async () => (await bench.metric('wakeport_connections_waiting{service="a"}')) === "1",
    );
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(second.text, "");
  });
});

/** Returns the arguments of a process; empty if it has ended. */
function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
