/** `wakeport run` and SIGUSR2: everything it knows, in its log. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { suite, test } from "node:test";
import type { ServiceDetails } from "../../src/admin/api.ts";
import type { StateReport } from "../../src/admin/state.ts";
import { freePort } from "../support/net/tcp.ts";
import { Program, temporaryFile, until } from "../support/program/program.ts";

interface Bench extends AsyncDisposable {
  readonly program: Program;
  readonly echo: number;
  readonly slow: number;
  readonly admin: number;
}

/** A wakeport with a builtin and a process that is never ready. */
async function start(format: string): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const [echo, slow, admin, upstream] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const file = stack.use(
    await temporaryFile(
      "wakeport.yaml",
      `admin: { listen: "127.0.0.1:${admin}" }
log: { format: ${format} }
shutdown: { drain: 0s }
services:
  echo: { ports: ["127.0.0.1:${echo}"], builtin: echo, access: { deny: [10.0.9.0/24] }, banner: { deny: "not you" } }
  slow: { ports: ["127.0.0.1:${slow}:${upstream}"], process: { command: [sleep, "60"] }, idle_timeout: 90s }
  off: { ports: ["127.0.0.1:${upstream}"], forward: "127.0.0.1:9", enabled: false }\n`,
    ),
  );
  const program = stack.use(new Program(["run", "-c", file.path]));
  await until(() => program.stdout.includes("serves") || program.stdout.includes("admin http"), "wakeport serves");
  const owned = stack.move();
  return { program, echo, slow, admin, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function connected(port: number): Promise<net.Socket & Disposable> {
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  await once(socket, "connect");
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() });
}

async function details(bench: Bench, service: string): Promise<ServiceDetails> {
  const answer = await fetch(`http://127.0.0.1:${bench.admin}/api/v1/services/${service}`);
  return (await answer.json()) as ServiceDetails;
}

/** One client that is served, one that waits. */
async function clients(bench: Bench): Promise<{ readonly served: string; readonly waiting: string } & Disposable> {
  const stack = new DisposableStack();
  const served = stack.use(await connected(bench.echo));
  const waiting = stack.use(await connected(bench.slow));
  await until(async () => (await details(bench, "slow")).open.length === 1, "a client that waits");
  await until(async () => (await details(bench, "echo")).open[0]?.state === "served", "a client that is served");
  return {
    served: `127.0.0.1:${served.localPort}`,
    waiting: `127.0.0.1:${waiting.localPort}`,
    [Symbol.dispose]: () => stack.dispose(),
  };
}

suite("SIGUSR2", () => {
  test("logs the state as one JSON record", async () => {
    await using bench = await start("json");
    (await connected(bench.echo)).destroy();
    await bench.program.logged("connection.closed");
    using two = await clients(bench);
    bench.program.child.kill("SIGUSR2");
    const report = (await bench.program.logged("state")) as unknown as StateReport;
    assert.equal(report.pid, bench.program.child.pid);
    assert.equal(report.connections, 2);
    assert.deepEqual(
      report.services.map(({ name, state, connections, waiting }) => ({ name, state, connections, waiting })),
      [
        { name: "echo", state: "listening", connections: 1, waiting: 0 },
        { name: "slow", state: "starting", connections: 0, waiting: 1 },
        { name: "off", state: "disabled", connections: 0, waiting: 0 },
      ],
    );
    const [echo, slow] = report.services;
    assert.deepEqual(echo?.outcomes, { served: 1 });
    assert.equal(slow?.policies["idleTimeoutMs"], 90_000);
    assert.deepEqual(echo?.policies["access"], { deny: ["10.0.9.0/24"] });
    assert.deepEqual(echo?.policies["banner"], { deny: "not you" });
    const [open] = slow?.open ?? [];
    assert.deepEqual([open?.client, open?.state], [two.waiting, "waiting"]);
    assert.ok(Date.now() - Date.parse(open?.since ?? "") < 60_000);
    assert.deepEqual(echo?.open, (await details(bench, "echo")).open);
    assert.equal(echo?.open[0]?.client, two.served);
    const starting = await bench.program.logged("target.starting");
    assert.deepEqual([starting["client"], starting["service"]], [two.waiting, "slow"]);
  });

  test("logs it as text, each line in the form of xinetd's messages", async () => {
    await using bench = await start("xinetd");
    using two = await clients(bench);
    bench.program.child.kill("SIGUSR2");
    await until(() => bench.program.stdout.includes("end of state"), "the state in the log");
    const form = /^\d\d\/\d\d\/\d\d@\d\d:\d\d:\d\d wakeport\[\d+\]: INFO: (?<words>.*)$/;
    const lines = bench.program.stdout.trimEnd().split("\n");
    const words = lines.map((line) => form.exec(line)?.groups?.["words"] ?? "");
    const dump = words.slice(words.findIndex((line) => line.startsWith("state of wakeport")));
    assert.ok(dump.every((line) => line !== ""));
    for (const line of [
      "service echo",
      "    target = builtin echo",
      "    access = deny 10.0.9.0/24",
      '    banner = deny "not you"',
      "    idle timeout = 1m30s",
      "    denied = none",
    ]) {
      assert.ok(dump.includes(line), `${line}\n${dump.join("\n")}`);
    }
    assert.ok(dump.some((line) => line.startsWith(`        ${two.served} served since `)));
    assert.ok(dump.some((line) => line.startsWith(`        ${two.waiting} waiting since `)));
    assert.ok(
      dump.some((line) => line.startsWith(`    state = starting: woken by ${two.waiting} through `)),
      dump.join("\n"),
    );
  });

  test("logs it as one text for people", async () => {
    await using bench = await start("pretty");
    bench.program.child.kill("SIGUSR2");
    await until(() => bench.program.stdout.includes("end of state"), "the state in the log");
    assert.match(bench.program.stdout, /INFO: state of wakeport .*\nconnections = 0 of at most \d+\n/);
  });

  test("lists no more than a thousand of many connections, and serves meanwhile", async () => {
    await using bench = await start("json");
    using stack = new DisposableStack();
    for (let batch = 0; batch < 20; batch += 1) {
      for (const socket of await Promise.all(Array.from({ length: 100 }, () => connected(bench.echo))))
        stack.use(socket);
    }
    await until(async () => (await details(bench, "echo")).connections === 2_000, "two thousand clients");
    assert.equal((await details(bench, "echo")).open.length, 1_000);
    bench.program.child.kill("SIGUSR2");
    bench.program.child.kill("SIGUSR2");
    const { services, connections } = (await bench.program.logged("state")) as unknown as StateReport;
    assert.equal(connections, 2_000);
    assert.equal(services[0]?.open.length, 1_000);
    const last = await connected(bench.echo);
    last.end("still here");
    assert.equal(String((await once(last, "data"))[0]), "still here");
  });

  test("names the process that serves one client alone", async () => {
    const [cat, admin] = [await freePort(), await freePort()];
    const text = `admin: { listen: "127.0.0.1:${admin}" }
services: { cat: { ports: ["127.0.0.1:${cat}"], inetd: { command: [/bin/cat] } } }\n`;
    await using file = await temporaryFile("wakeport.yaml", text);
    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    using client = await connected(cat);
    client.write("words");
    await once(client, "data");
    program.child.kill("SIGUSR2");
    const { services } = (await program.logged("state")) as unknown as StateReport;
    client.end();
    const { pid } = await program.logged("connection.closed");
    assert.equal(typeof pid, "number");
    assert.equal(services[0]?.open[0]?.pid, pid);
  });
});
