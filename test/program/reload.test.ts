/** SIGHUP to the real program: changed services, open connections, and invalid files. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { constants } from "node:os";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, connecting, PeerServer } from "../support/net/tcp.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { Bench, echoService, greeting, isAlive, isRefused } from "../support/program/reloading.ts";
import { temporaryFile } from "../support/temporary-file.ts";

suite("wakeport run, reloaded", () => {
  test("listens for new services, closes removed ones, and ends their processes", async () => {
    const [a, b, up, up2] = [await freePort(), await freePort(), await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    using first = await connect(a);
    const pid = Number.parseInt(await greeting(first), 10);
    first.end();
    await first.ended();

    const report = await bench.reload(echoService("b", b, up2));
    assert.deepEqual([report["added"], report["removed"]], [["b"], ["a"]]);
    using second = await connect(b);
    assert.match(await greeting(second), /one$/);
    await eventually("the old port is closed", () => isRefused(a));
    await eventually("the old process ends", () => !isAlive(pid));
    assert.equal(await bench.metric('wakeport_config_reloads_total{result="success"}'), "1");
  });

  test("keeps connections open, and does not touch unchanged services", async () => {
    const [a, b, up, up2] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const same = echoService("a", a, up);
    await using bench = await Bench.start(same);
    using client = await connect(a);
    const first = await greeting(client);
    const report = await bench.reload(same + echoService("b", b, up2));
    assert.deepEqual([report["unchanged"], report["changed"]], [1, []]);
    client.send("still there?\n");
    await eventually("an echo", () => client.text.endsWith("still there?\n"));
    using other = await connect(a);
    assert.equal(await greeting(other), first);
  });

  test("applies a changed policy to the running target", async () => {
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    using client = await connect(a);
    const first = await greeting(client);
    const report = await bench.reload(echoService("a", a, up, "one", ", idle_timeout: 100ms"));
    assert.deepEqual(report["changed"], ["a"]);
    using other = await connect(a);
    assert.equal(await greeting(other), first);
    client.end();
    other.end();
    await bench.program.logged("target.asleep");
  });

  test("finishes connections of a changed command, and serves new clients by the new command on the same listener", async () => {
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    using client = await connect(a);
    const first = await greeting(client);
    await bench.reload(echoService("a", a, up, "two"));
    using newcomer = connecting(a);
    await eventually("the connection is accepted", () => !newcomer.socket.connecting);
    client.send("word\n");
    await eventually("an echo", () => client.text.endsWith("word\n"));
    assert.equal(newcomer.text, "");
    client.end();
    assert.match(await greeting(newcomer), / two$/);
    assert.notEqual(await greeting(newcomer), first);
  });

  test("moves a listener to another service without refusing a client", async () => {
    await using other = await PeerServer.open();
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    const fates: Promise<boolean>[] = [];
    let isOver = false;
    const knocking = (async () => {
      while (!isOver) {
        fates.push(isRefused(a));
        await Promise.allSettled(fates.slice(-1));
      }
    })();
    await bench.reload(`  b: { ports: ["127.0.0.1:${a}"], forward: "127.0.0.1:${other.port}" }\n`);
    using client = await connect(a);
    client.send("hello");
    await eventually("the new upstream receives the bytes", () => other.peers.some((peer) => peer.text === "hello"));
    isOver = true;
    await knocking;
    assert.equal((await Promise.all(fates)).filter(Boolean).length, 0);
  });

  test("changes nothing if the file is invalid, and logs the position", async () => {
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    const { error } = await bench.reload("  a: { ports: [1], contaner: x }\n", "config.reload_failed");
    assert.match(String(error), /wakeport\.yaml:3:20 error: unknown key "contaner"/);
    using client = await connect(a);
    assert.match(await greeting(client), /one$/);
    assert.equal(await bench.metric("wakeport_config_last_reload_successful"), "0");
    await bench.reload(echoService("a", a, up));
    assert.equal(await bench.metric("wakeport_config_last_reload_successful"), "1");
  });

  test("changes nothing if a port cannot be bound", async () => {
    await using taken = await PeerServer.open();
    const [a, b, up, up2] = [await freePort(), await freePort(), await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    const wrong = echoService("b", b, up2) + echoService("c", taken.port, up);
    const { error } = await bench.reload(wrong, "config.reload_failed");
    assert.match(String(error), /service "c" cannot listen on .* the port is in use/);
    using client = await connect(a);
    assert.match(await greeting(client), /one$/);
    assert.equal(await isRefused(b), true);
  });

  test("reports changes that need a restart", async () => {
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    await bench.reload(`${echoService("a", a, up)}docker: { project: other }\nlog: { format: pretty }\n`);
    const { keys } = await bench.program.logged("config.needs_restart");
    assert.deepEqual(keys, ["docker", "log.format"]);
  });

  test("does not apply the log level of a rejected file", async () => {
    await using taken = await PeerServer.open();
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    const wrong = `${echoService("c", taken.port, up)}log: { level: error }`;
    await bench.reload(wrong, "config.reload_failed");
    using client = await connect(a);
    await greeting(client);
    client.end();
    await bench.program.logged("connection.closed");
  });

  test("during startup is applied after startup, and during shutdown is ignored", async () => {
    await using silent = await PeerServer.open();
    const [a, up] = [await freePort(), await freePort()];
    const admin = await freePort();
    const services = `services:\n${echoService("a", a, up)}  c: { ports: ["127.0.0.1:${await freePort()}:80"], container: c }\n`;
    const engine = `docker: { host: "tcp://127.0.0.1:${silent.port}" }\n`;
    await using file = await temporaryFile(
      "wakeport.yaml",
      `admin: { listen: "127.0.0.1:${admin}" }\n${engine}${services}`,
    );
    await using program = new Program(["run", "-c", file.path]);
    await eventually("the engine receives a request", () => silent.peers.length > 0);
    program.child.kill("SIGHUP");
    await program.logged("config.reloaded");
    const [first] = program.log.filter(({ event }) => event === "started" || event === "config.reloaded");
    assert.equal(first?.event, "started");
  });

  test("before the configuration is read is applied after the start, and other signals end nothing", async () => {
    const [a, up, admin] = [await freePort(), await freePort(), await freePort()];
    await using file = await temporaryFile(
      "wakeport.yaml",
      `admin: { listen: "127.0.0.1:${admin}" }\nservices:\n${echoService("a", a, up)}`,
    );
    await using program = new Program(["run", "-c", file.path]);
    await eventually("wakeport handles SIGHUP", () => handles(program.child.pid, constants.signals.SIGHUP));
    for (const name of ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const) program.child.kill(name);
    await program.logged("config.reloaded");
    const events = program.log.map(({ event }) => event);
    assert.deepEqual(events.slice(0, 2), ["started", "config.reloaded"]);
    using client = await connect(a);
    assert.match(await greeting(client), /one$/);
  });

  test("reads the configuration itself if no child process can, and logs the reason once", async () => {
    const [a, up] = [await freePort(), await freePort()];
    const library = 'if (process.argv[1]?.includes("config/reader")) process.exit(7);';
    await using preloaded = await temporaryFile("library.cjs", library);
    await using bench = await Bench.start(echoService("a", a, up), { NODE_OPTIONS: `--require ${preloaded.path}` });
    await bench.reload(echoService("a", a, up, "two"));
    await bench.reload(echoService("a", a, up, "three"));
    using client = await connect(a);
    assert.match(await greeting(client), /three$/);
    const warnings = bench.program.log.filter(({ event }) => event === "config.no_reader");
    assert.deepEqual(
      warnings.map(({ level, msg }) => [level, msg]),
      [
        [
          "warn",
          "no child process reads the configuration, which takes 20 MB more memory: the reader ended with status 7",
        ],
      ],
    );
  });

  test("moves the admin server, also to an address that covers the old address, and status finds it", async () => {
    const [a, up, port, other] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const text = (listen: string): string => `admin: { listen: "${listen}" }\nservices:\n${echoService("a", a, up)}`;
    await using file = await temporaryFile("wakeport.yaml", text(`127.0.0.1:${port}`));
    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    const isServed = (): Promise<boolean> => wakeport(["status", "-c", file.path]).then(({ code }) => code === 0);
    let reloads = 0;
    for (const listen of [`0.0.0.0:${port}`, `127.0.0.1:${other}`]) {
      await writeFile(file.path, text(listen));
      program.child.kill("SIGHUP");
      reloads += 1;
      const { afterRestart } = await program.logged("config.reloaded", reloads);
      assert.deepEqual(afterRestart, []);
      assert.ok(await isServed(), listen);
    }
    await assert.rejects(fetch(`http://127.0.0.1:${port}/healthz`), "the old address is closed");

    await using taken = await PeerServer.open();
    await writeFile(file.path, text(`127.0.0.1:${taken.port}`));
    program.child.kill("SIGHUP");
    const { error } = await program.logged("config.reload_failed");
    assert.match(String(error), /the admin server cannot listen on/);
    assert.equal((await fetch(`http://127.0.0.1:${other}/healthz`)).status, 200, "the admin server listens as before");
  });

  test("twice at the same time is applied one after the other", async () => {
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    for (let signals = 0; signals < 20; signals += 1) bench.program.child.kill("SIGHUP");
    await bench.program.logged("config.reloaded");
    using client = await connect(a);
    assert.match(await greeting(client), /one$/);
  });
});

/** Whether a process has a handler for a signal. The program is a script first, whose shell has none. */
function handles(pid: number | undefined, signal: number): boolean {
  const [, caught = "0"] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return ((BigInt(`0x${caught}`) >> BigInt(signal - 1)) & 1n) === 1n;
}
