/** `wakeport run` with process targets. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

/** An echo server that sends its pid first. */
const echo = `require("net").createServer({ allowHalfOpen: true }, (s) => { s.on("error", () => {}); s.write(process.pid + "\\n"); s.pipe(s); })
.listen(Number(process.argv[1]), "127.0.0.1"); console.log("echo is up")`;

interface Bench extends AsyncDisposable {
  readonly program: Program;
  readonly file: string;
  readonly listenPort: number;
  readonly admin: number;
}

/** A wakeport with one service, `echo`, on a free port. */
async function start(more = ""): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const [listenPort, upstream, admin] = [await freePort(), await freePort(), await freePort()];
  const command = JSON.stringify([process.execPath, "-e", echo, String(upstream)]);
  const file = stack.use(
    await temporaryFile(
      "wakeport.yaml",
      `admin: { listen: "127.0.0.1:${admin}" }
services:
  echo: { ports: ["127.0.0.1:${listenPort}"], process: { command: ${command}, listen: "127.0.0.1:${upstream}" }, idle_timeout: 200ms }
${more}`,
    ),
  );
  const program = stack.use(new Program(["run", "-c", file.path]));
  await program.logged("started");
  const owned = stack.move();
  return { program, file: file.path, listenPort, admin, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Connects and returns the greeting: the pid of the target. */
async function greeted(port: number): Promise<{ socket: net.Socket; pid: number }> {
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  const [greeting] = (await once(socket, "data")) as [Buffer];
  return { socket, pid: Number.parseInt(greeting.toString(), 10) };
}

function isAlive(pid: number): boolean {
  try {
    // The third field is the state. A zombie counts as dead.
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

suite("wakeport run", () => {
  test("wakes the target, relays, stops the target, and wakes it again", async () => {
    await using bench = await start();
    const first = await greeted(bench.listenPort);
    first.socket.end();
    await bench.program.logged("target.asleep");
    assert.equal(isAlive(first.pid), false);

    const second = await greeted(bench.listenPort);
    second.socket.end();
    assert.notEqual(second.pid, first.pid);
    const { outcome, start: how, bytes_out } = await bench.program.logged("connection.closed", 2);
    assert.deepEqual(
      { outcome, how, bytes_out },
      { outcome: "relayed", how: "cold", bytes_out: `${second.pid}\n`.length },
    );
    assert.equal((await bench.program.logged("target.output"))["msg"], "echo | echo is up");
  });

  test("logs one JSON object per line, each with an event", async () => {
    await using bench = await start();
    (await greeted(bench.listenPort)).socket.end();
    await bench.program.logged("target.asleep");
    for (const line of bench.program.log) assert.equal(typeof line.event, "string");
    assert.equal(bench.program.log.filter(({ event }) => event === "connection.closed").length, 1);
  });

  test("status and healthcheck report the running wakeport", async () => {
    await using bench = await start();
    const { socket } = await greeted(bench.listenPort);
    const { stdout } = await wakeport(["status", "-c", bench.file]);
    assert.match(stdout, /^SERVICE\s+STATE[\s\S]*echo\s+ready\s+process node/);
    const report = JSON.parse((await wakeport(["status", "--json", "-c", bench.file])).stdout);
    assert.equal(report.services[0].connections, 1);
    assert.equal((await wakeport(["healthcheck", "-c", bench.file])).code, 0);
    socket.end();
  });

  test("healthcheck and status work beside hundreds of silent connections to the admin port", async () => {
    await using bench = await start();
    const silent: net.Socket[] = [];
    const connect = (): void => {
      const socket = net.connect(bench.admin, "127.0.0.1");
      // An evicted client connects again.
      socket.on("error", () => {}).once("close", () => !isOver && setTimeout(connect, 100));
      silent.push(socket);
    };
    let isOver = false;
    for (let count = 0; count < 200; count += 1) connect();
    try {
      await eventually("the silent connections are open again", () => silent.length > 300);
      assert.equal((await wakeport(["healthcheck", "-c", bench.file])).code, 0);
      assert.equal((await wakeport(["status", "-c", bench.file])).code, 0);
    } finally {
      isOver = true;
      for (const socket of silent) socket.destroy();
    }
  });

  test("SIGTERM lets a connection finish, stops the target, and exits 0", async () => {
    await using bench = await start();
    const { socket, pid } = await greeted(bench.listenPort);
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    socket.write("still here\n");
    assert.equal(String((await once(socket, "data"))[0]), "still here\n");
    assert.equal(isAlive(pid), true);
    socket.end();
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(isAlive(pid), false);
    assert.equal(bench.program.log.at(-1)?.event, "shutdown.done");
  });

  test("a drain ends at its deadline", async () => {
    await using bench = await start("shutdown: { drain: 100ms }");
    const { socket, pid } = await greeted(bench.listenPort);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    bench.program.child.kill("SIGTERM");
    await closed;
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(isAlive(pid), false);
    assert.equal((await bench.program.logged("connection.closed"))["end"], "drained");
  });

  test("a second signal exits at once with status 1, and leaves no process", async () => {
    await using bench = await start();
    const { pid } = await greeted(bench.listenPort);
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 1);
    await eventually("the target ends", () => !isAlive(pid));
  });

  test("a port in use is reported with its service, and wakeport exits 1", async () => {
    await using bench = await start();
    const other = await freePort();
    await using file = await temporaryFile(
      "w.yaml",
      `admin: { listen: "127.0.0.1:${await freePort()}" }
services:
  fine: { ports: ["127.0.0.1:${other}:7"], process: { command: [sleep, "9"] } }
  taken: { ports: ["127.0.0.1:${bench.listenPort}:8"], process: { command: [sleep, "9"] } }\n`,
    );
    const { code, stderr } = await wakeport(["run", "-c", file.path]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      new RegExp(`service "taken" cannot listen on 127\\.0\\.0\\.1:${bench.listenPort}: the port is in use`),
    );
    const [error] = (await once(net.connect({ port: other, host: "127.0.0.1" }), "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNREFUSED");
  });

  test("continues, and shuts down in order, if the reader of its log is gone", async () => {
    await using bench = await start();
    bench.program.child.stdout.destroy();
    const { socket } = await greeted(bench.listenPort);
    socket.end();
    await once(socket, "close");
    (await greeted(bench.listenPort)).socket.end();
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
  });

  test("a target that fails resets its client, and the log contains the reason once", async () => {
    const listenPort = await freePort();
    await using file = await temporaryFile(
      "w.yaml",
      `admin: { listen: "127.0.0.1:${await freePort()}" }
services:
  bad: { ports: ["127.0.0.1:${listenPort}:${await freePort()}"], process: { command: [sh, -c, "echo no luck >&2; exit 3"] } }\n`,
    );
    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const [error] = (await once(net.connect({ port: listenPort, host: "127.0.0.1" }), "error")) as [
        NodeJS.ErrnoException,
      ];
      assert.equal(error.code, "ECONNRESET");
    }
    const { exit_code, last_lines, cooldown_ms } = await program.logged("target.failed");
    assert.deepEqual(
      { exit_code, last_lines, cooldown_ms },
      { exit_code: 3, last_lines: ["no luck"], cooldown_ms: 1000 },
    );
    assert.equal(program.log.filter(({ event }) => event === "target.failed").length, 1);
    await program.logged("connection.closed", 2);
    const [first, second] = program.log.filter(({ event }) => event === "connection.closed");
    assert.deepEqual([first?.["outcome"], second?.["outcome"]], ["start_failed", "start_failed"]);
    assert.match(String(second?.["error"]), /failed to start a moment ago/);
  });

  test("passes nothing of its own environment to a process", async () => {
    const listenPort = await freePort();
    const upstream = await freePort();
    const show = `require("net").createServer((s) => s.on("error", () => {}).end(JSON.stringify(process.env))).listen(${upstream}, "127.0.0.1")`;
    await using file = await temporaryFile(
      "w.yaml",
      `admin: { listen: "127.0.0.1:${await freePort()}" }
services:
  env:
    ports: ["127.0.0.1:${listenPort}"]
    process: { command: [${JSON.stringify(process.execPath)}, -e, ${JSON.stringify(show)}], listen: "127.0.0.1:${upstream}", env: { A: b } }\n`,
    );
    await using program = new Program(["run", "-c", file.path], { CANARY: "secret", LANG: "C" });
    await program.logged("started");
    const [answer] = (await once(net.connect({ port: listenPort, host: "127.0.0.1" }), "data")) as [Buffer];
    assert.deepEqual(Object.keys(JSON.parse(answer.toString())).toSorted(), ["A", "HOME", "LANG", "PATH"]);
  });
});
