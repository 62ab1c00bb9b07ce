/** `wakeport run` as inetd, with real servers and clients of Debian. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, connecting } from "../support/net/tcp.ts";
import { childrenOf } from "../support/program/children.ts";
import { exchange, start } from "../support/program/inetd.ts";
import { type LogLine, Program, wakeport } from "../support/program/program.ts";
import { fixture } from "../support/targets/process-subject.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const isRoot = process.getuid?.() === 0;

const python = "/usr/bin/python3";
const needsPython = { skip: !existsSync(python) && "needs python3: run test/engine/tools" };

/** A script in wakeport.yaml, in which each dollar sign is doubled. */
const script = (text: string): string => JSON.stringify(text.replaceAll("$", "$$$$"));

const runs = (pid: number): boolean => {
  try {
    return !/^.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};

suite("a program for each client", () => {
  test("gets the connection itself, receives the client's FIN, and its start and end are logged", async () => {
    await using bench = await start("{ command: [/bin/cat] }");
    const peer = await connect(bench.port);
    peer.send("hello");
    await peer.receives(5);
    const { pid } = await bench.program.logged("connection.opened");
    assert.ok(runs(pid as number));
    assert.match(readlinkSync(`/proc/${pid}/fd/0`), /^socket:/);
    assert.equal(readlinkSync(`/proc/${pid}/fd/0`), readlinkSync(`/proc/${pid}/fd/1`));
    assert.match(readlinkSync(`/proc/${pid}/fd/2`), /^socket:|^pipe:/);
    const others = readdirSync(`/proc/${pid}/fd`).filter((fd) => Number(fd) > 2);
    assert.deepEqual(
      others.filter((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:")),
      [],
    );
    peer.end(" and goodbye");
    assert.equal(await peer.ended(), "ended");
    assert.equal(peer.text, "hello and goodbye");
    const closed = await bench.program.logged("connection.closed");
    const { outcome, end, exit_code: code } = closed;
    assert.deepEqual({ outcome, end, code, pid: closed["pid"] }, { outcome: "served", end: "exited", code: 0, pid });
  });

  test("gets the client's address in its environment, IPv4 and IPv6", async () => {
    await using bench = await start("{ command: [/usr/bin/env], env: { A: b } }");
    for (const host of ["127.0.0.1", "::1"]) {
      const peer = await exchange(bench.port, "", host);
      const reported = new Map(peer.text.split("\n").map((line) => line.split("=", 2) as [string, string]));
      for (const name of ["REMOTE_HOST", "REMOTE_ADDR", "TCPREMOTEIP", "TCPLOCALIP"])
        assert.equal(reported.get(name), host);
      assert.equal(reported.get("TCPLOCALPORT"), String(bench.port));
      assert.equal(reported.get("REMOTE_PORT"), reported.get("TCPREMOTEPORT"));
      assert.match(reported.get("REMOTE_PORT") ?? "", /^\d+$/);
      assert.equal(reported.get("PROTO"), "TCP");
      assert.equal(reported.get("A"), "b");
    }
  });

  test("writes its standard error to the log, or to the client", async () => {
    const command = "command: [/bin/sh, -c, 'echo oops >&2; echo done']";
    await using quiet = await start(`{ ${command} }`);
    assert.equal((await exchange(quiet.port)).text, "done\n");
    assert.equal((await quiet.program.logged("target.output"))["msg"], "it | oops");
    await using frank = await start(`{ ${command}, stderr: socket }`);
    assert.equal((await exchange(frank.port)).text, "oops\ndone\n");
  });

  test("runs with its configured environment and limits", { skip: !isRoot && "needs root" }, async () => {
    const reported = "id -u; id -g; umask; ulimit -n; nice; tr '\\0' ' ' </proc/$$/cmdline | cut -d ' ' -f 1; pwd";
    await using bench = await start(
      `{ command: [/bin/sh, -c, ${script(reported)}], user: daemon, group: 4, groups: init, cwd: /usr, ` +
        'umask: "027", nice: 3, rlimits: { nofile: 77 }, argv0: in.test }',
    );
    const lines = (await exchange(bench.port)).text.split("\n");
    assert.deepEqual([...lines.slice(0, 4), ...lines.slice(5, 7)], ["1", "4", "0027", "77", "in.test", "/usr"]);
  });

  test("that cannot be started resets the client, and the log contains the remedy", async () => {
    await using bench = await start("{ command: [/no/such] }");
    const peer = connecting(bench.port);
    assert.equal(await peer.ended(), "ECONNRESET");
    const { outcome, error, remedy } = await bench.program.logged("connection.closed");
    assert.equal(outcome, "start_failed");
    assert.match(String(error), /cannot run "\/no\/such"/);
    assert.match(String(remedy), /full path/);
  });

  test("ends the client's connection when it is killed, and the log contains the signal", async () => {
    await using bench = await start(`{ command: [/bin/sh, -c, ${script("kill -9 $$")}] }`);
    await exchange(bench.port);
    const closed = await bench.program.logged("connection.closed");
    assert.deepEqual(
      { end: closed["end"], by: closed["exit_signal"], outcome: closed["outcome"] },
      { end: "killed", by: "SIGKILL", outcome: "served" },
    );
  });

  test("is counted while it runs", async () => {
    await using bench = await start("{ command: [/bin/cat] }");
    const peers = [await connect(bench.port), await connect(bench.port)];
    await bench.program.logged("connection.opened", 2);
    const metrics = await (await fetch(`http://127.0.0.1:${bench.admin}/metrics`)).text();
    assert.match(metrics, /^wakeport_connections_active\{service="it"\} 2$/m);
    for (const peer of peers) peer.end();
    await bench.program.logged("connection.closed", 2);
    const after = await (await fetch(`http://127.0.0.1:${bench.admin}/metrics`)).text();
    assert.match(after, /^wakeport_connections_active\{service="it"\} 0$/m);
    assert.match(after, /^wakeport_connections_total\{service="it",outcome="served"\} 2$/m);
  });
});

suite("at shutdown, the program of a client", () => {
  test("may finish", async () => {
    await using bench = await start("{ command: [/bin/cat] }");
    const peer = await connect(bench.port);
    await bench.program.logged("connection.opened");
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    peer.send("still here");
    await peer.receives(10);
    peer.end();
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal((await bench.program.logged("connection.closed"))["exit_code"], 0);
  });

  test("gets SIGTERM after the drain, and SIGKILL after its grace period, with its process group", async () => {
    const stubborn = "trap '' TERM; sleep 600 & echo $! $$; wait; sleep 600";
    const inetd = `{ command: [/bin/sh, -c, ${script(stubborn)}] }`;
    await using bench = await start(inetd, "shutdown: { drain: 50ms }", "stop_grace: 200ms");
    const peer = await connect(bench.port);
    await eventually("the pids are received", () => peer.text.includes("\n"));
    const pids = peer.text.trim().split(" ").map(Number);
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.deepEqual(pids.filter(runs), []);
    assert.equal((await bench.program.logged("connection.closed"))["exit_signal"], "SIGKILL");
  });

  test("is killed by an immediate shutdown", async () => {
    await using bench = await start(`{ command: [/bin/sh, -c, ${script("echo $$; exec sleep 600")}] }`);
    const peer = await connect(bench.port);
    await eventually("the pid is received", () => peer.text.includes("\n"));
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 1);
    await eventually("the process ends", () => !runs(Number(peer.text)));
  });
});

suite("many passed connections", () => {
  const count = Number(process.env["WAKEPORT_TEST_HAND_OFFS"] ?? 300);

  test(`leave no process or descriptor: ${count}`, async () => {
    await using bench = await start("{ command: [/bin/cat] }");
    const own = bench.program.child.pid ?? 0;
    const files = (): number => readdirSync(`/proc/${own}/fd`).length;
    await exchange(bench.port, "warm");
    await eventually("no child", () => childrenOf(own).length === 0);
    const before = files();
    let left = count;
    const client = async (): Promise<void> => {
      while (left-- > 0) {
        using peer = await exchange(bench.port, "x");
        assert.equal(peer.text, "x");
      }
    };
    await Promise.all(Array.from({ length: 8 }, client));
    await eventually("no child, not even a zombie", () => childrenOf(own).length === 0);
    await eventually(`at most ${before} descriptors`, () => files() <= before);
    await bench.program.logged("connection.closed", count + 1);
    assert.ok(bench.program.log.every(({ event, outcome }) => event !== "connection.closed" || outcome === "served"));
  });
});

suite("a system without koffi", () => {
  const hidden = { NODE_OPTIONS: `--import=${fixture("without-koffi.mjs")}` };

  test("starts programs with fork, and logs the reason once", async () => {
    await using bench = await start("{ command: [/bin/cat] }", "", "", hidden);
    const { msg } = await bench.program.logged("programs.fork");
    assert.match(String(msg), /started with fork.*koffi is not installed/);
    for (const words of ["one", "two"]) {
      using peer = await exchange(bench.port, words);
      assert.equal(peer.text, words);
    }
    assert.equal(bench.program.log.filter(({ event }) => event === "programs.fork").length, 1);
  });

  test("is named by wakeport check, if the configuration has programs", async () => {
    const programs = `services: { it: { ports: ["7000"], inetd: { command: [/bin/cat] } } }`;
    const none = `services: { it: { ports: ["7000"], builtin: echo } }`;
    for (const [yaml, expected] of [
      [programs, /warning: programs are started with fork/],
      [none, /^$/],
    ] as const) {
      await using file = await temporaryFile("wakeport.yaml", yaml);
      const { code, stderr } = await wakeport(["check", "-c", file.path], hidden);
      assert.equal(code, 0);
      assert.match(stderr, expected);
    }
  });
});

suite("a program with the listener (wait: true)", needsPython, () => {
  /** Sends its pid and the number of served clients to each client, and exits when no client connects for a second. */
  const server = `import socket, sys, os
s = socket.socket(fileno=0); s.settimeout(float(sys.argv[1])); n = 0
try:
    while True:
        c, a = s.accept(); n += 1; c.sendall(f"{os.getpid()} {n}\\n".encode()); c.close()
except TimeoutError: pass`;
  const waiting = (idle: string) => `{ command: [${python}, -c, ${JSON.stringify(server)}, "${idle}"], wait: true }`;

  const asked = async (port: number): Promise<string[]> => {
    const peer = await exchange(port);
    return peer.text.trim().split(" ");
  };

  test("serves the first client and the next ones; then wakeport listens again", async () => {
    await using bench = await start(waiting("0.3"));
    const [first, one] = await asked(bench.port);
    const [second, two] = await asked(bench.port);
    assert.deepEqual([second, one, two], [first, "1", "2"]);
    const opened = await bench.program.logged("connection.opened");
    assert.equal(String(opened["pid"]), first);
    const closed = await bench.program.logged("connection.closed");
    await eventually("wakeport listens again", () => listens(bench.port));
    assert.deepEqual({ outcome: closed["outcome"], code: closed["exit_code"] }, { outcome: "served", code: 0 });
    const [third, again] = await asked(bench.port);
    assert.notEqual(third, first);
    assert.equal(again, "1");
  });

  test("leaves a client in the backlog to the next program: the port never refuses", async () => {
    await using end = await temporaryFile("end", "");
    const command = JSON.stringify([process.execPath, fixture("one-client.cjs"), `${end.path}.now`, "0", "0"]);
    await using bench = await start(`{ command: ${command}, wait: true }`);
    const first = await connect(bench.port);
    await eventually("the first reply", () => first.text.includes("\n"));
    const second = await connect(bench.port);
    second.send("hello");
    await writeFile(`${end.path}.now`, "");
    assert.equal(await second.ended(), "ended");
    assert.match(second.text, /^\d+\n$/);
    assert.notEqual(second.text, first.text);
    for (const peer of [first, second]) peer.end();
  });

  test("keeps the port until its children have ended", async () => {
    // The program ends when this file is removed.
    await using alive = await temporaryFile("alive", "");
    const forking = `import os, socket, sys
if os.fork() > 0: sys.exit()
s = socket.socket(fileno=0)
while os.path.exists(sys.argv[1]):
    s.settimeout(0.05)
    try:
        c, a = s.accept(); c.sendall(b"child\\n"); c.close()
    except TimeoutError: pass`;
    const command = JSON.stringify([python, "-c", forking, alive.path]);
    await using bench = await start(`{ command: ${command}, wait: true }`);
    for (let client = 0; client < 3; client += 1) assert.equal((await exchange(bench.port)).text, "child\n");
    assert.equal(bench.program.log.filter(({ event, pid }) => event === "connection.opened" && pid).length, 1);
  });

  test("serves every client of a crowd in consecutive runs", async () => {
    await using bench = await start(waiting("0.05"));
    for (let round = 0; round < 10; round += 1) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => asked(bench.port)));
      assert.ok(
        answers.every(([pid, n]) => Number(pid) > 0 && Number(n) > 0),
        JSON.stringify(answers),
      );
      // The first client of each run is closed when the run ends.
      const runsSoFar = (): number =>
        bench.program.log.filter(({ event, pid }) => event === "connection.closed" && pid).length;
      await eventually("this run ends", () => runsSoFar() === round + 1);
      await eventually("wakeport listens again", () => listens(bench.port));
    }
  });

  test("that exits without accepting its client serves the client in its next run", async () => {
    await using first = await temporaryFile("first", "");
    const code = `import os, socket, sys
s = socket.socket(fileno=0)
if os.path.exists(sys.argv[1]): os.remove(sys.argv[1]); sys.exit(0)
c, a = s.accept(); c.sendall(b"second run\\n")`;
    const command = JSON.stringify([python, "-c", code, first.path]);
    await using bench = await start(`{ command: ${command}, wait: true }`);
    const peer = await exchange(bench.port);
    assert.equal(peer.text, "second run\n");
    const { outcome } = await bench.program.logged("connection.closed");
    assert.equal(outcome, "served");
    // The first connection started the data plane, which takes the second one from its handler.
    await eventually("the data plane is up", async () => {
      const response = await fetch(`http://127.0.0.1:${bench.admin}/api/v1/services`);
      return (await response.text()).includes('"data_plane":{"state":"up"');
    });
    await writeFile(first.path, "");
    const next = await exchange(bench.port);
    assert.equal(next.text, "second run\n");
  });

  test("that exits at once resets its clients, and is not restarted in a loop", async () => {
    await using bench = await start("{ command: [/bin/sh, -c, 'echo no >&2; exit 3'], wait: true }");
    const began = performance.now();
    const fates: string[] = [];
    while (performance.now() - began < 500 || fates.length < 2) {
      using peer = connecting(bench.port);
      fates.push(await peer.ended());
    }
    assert.deepEqual([...new Set(fates)], ["ECONNRESET"]);
    const starts = bench.program.log.filter(({ event }) => event === "target.output").length;
    assert.equal(starts, 1);
    // The next client may be rejected before the first one is reported.
    const closed = (conn: number): LogLine | undefined =>
      bench.program.log.find((line) => line.event === "connection.closed" && line["conn"] === conn);
    await eventually("the first two clients are reported", () => closed(1) !== undefined && closed(2) !== undefined);
    assert.deepEqual([closed(1)?.["outcome"], closed(2)?.["outcome"]], ["start_failed", "start_failed"]);
    assert.match(String(closed(1)?.["error"]), /exited with code 3/);
    assert.match(String(closed(2)?.["error"]), /exited immediately at its last start/);
  });

  test("that cannot be started resets its client, and wakeport listens again", async () => {
    await using bench = await start("{ command: [/no/such], wait: true }");
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const peer = connecting(bench.port);
      assert.equal(await peer.ended(), "ECONNRESET");
      const { outcome, error } = await bench.program.logged("connection.closed", attempt);
      assert.equal(outcome, "start_failed");
      assert.match(String(error), /no such command/);
      await eventually("wakeport listens again", () => listens(bench.port));
    }
  });

  test("ends with wakeport, which closes the port", async () => {
    await using bench = await start(waiting("600"), "shutdown: { drain: 50ms }");
    const [pid] = await asked(bench.port);
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(runs(Number(pid)), false);
    await assert.rejects(connect(bench.port), /ECONNREFUSED/);
  });
});

suite("a reload", () => {
  test("changes the program for the next client, and keeps the current program", async () => {
    await using stack = new AsyncDisposableStack();
    const [port, admin] = [await freePort(), await freePort()];
    const yaml = (command: string): string =>
      `admin: { listen: "127.0.0.1:${admin}" }\nservices: { it: { ports: ["${port}"], inetd: { command: ${command} } } }\n`;
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml("[/bin/cat]")));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("started");
    const old = await connect(port);
    old.send("one");
    await old.receives(3);
    await writeFile(file.path, yaml("[/bin/echo, new]"));
    program.child.kill("SIGHUP");
    await eventually("the new program replies", async () => (await exchange(port, "")).text === "new\n");
    old.end(" two");
    await old.ended();
    assert.equal(old.text, "one two");
  });

  test("ends a program with the listener, which its successor gets", needsPython, async () => {
    await using stack = new AsyncDisposableStack();
    const [port, admin] = [await freePort(), await freePort()];
    const server = `import socket, os, sys
s = socket.socket(fileno=0)
while True:
    c, a = s.accept(); c.sendall((sys.argv[1] + "\\n").encode()); c.close()`;
    const yaml = (name: string): string => `admin: { listen: "127.0.0.1:${admin}" }
shutdown: { drain: 100ms }
services: { it: { ports: ["${port}"], inetd: { command: [${python}, -c, ${JSON.stringify(server)}, ${name}], wait: true } } }\n`;
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml("old")));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("started");
    assert.equal((await exchange(port)).text, "old\n");
    await writeFile(file.path, yaml("new"));
    program.child.kill("SIGHUP");
    await eventually("the new program replies", async () => {
      const peer = connecting(port);
      await peer.ended();
      peer.end();
      return peer.text === "new\n";
    });
  });
});

suite("process: { activation: listen_fds }", () => {
  const proxyd = "/lib/systemd/systemd-socket-proxyd";

  test("needs no port of its own, serves at once, and sleeps like other targets", {
    skip: !existsSync(proxyd) && "needs systemd: run test/engine/tools",
  }, async () => {
    await using stack = new AsyncDisposableStack();
    const [port, behind, admin] = [await freePort(), await freePort(), await freePort()];
    const yaml = `admin: { listen: "127.0.0.1:${admin}" }
services:
  cat: { ports: ["127.0.0.1:${behind}"], inetd: { command: [/bin/cat] } }
  it: { ports: ["${port}"], process: { command: [${proxyd}, "127.0.0.1:${behind}"], activation: listen_fds }, idle_timeout: 100ms }\n`;
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("started");
    for (let incarnation = 1; incarnation <= 2; incarnation += 1) {
      const peers = await Promise.all(Array.from({ length: 10 }, () => connect(port)));
      for (const peer of peers) peer.send("hello");
      for (const peer of peers) await peer.receives(5);
      for (const peer of peers) peer.end();
      await program.logged("target.asleep", incarnation);
    }
    assert.equal(program.log.filter(({ event }) => event === "target.starting").length, 2);
  });

  test("serves a client that connects while its server exits", async () => {
    await using stack = new AsyncDisposableStack();
    const [port, admin] = [await freePort(), await freePort()];
    await using end = await temporaryFile("wakeport.yaml", "");
    const command = JSON.stringify([process.execPath, fixture("one-client.cjs"), `${end.path}.end`, "0"]);
    const yaml = `admin: { listen: "127.0.0.1:${admin}" }
log: { level: debug }
services: { it: { ports: ["${port}"], process: { command: ${command}, activation: listen_fds } } }\n`;
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("started");
    const first = await connect(port);
    await first.ended();
    first.end();
    const second = await connect(port);
    second.end("hello");
    await program.logged("connection.opened", 2);
    await writeFile(`${end.path}.end`, "");
    assert.equal(await second.ended(), "ended");
    assert.match(second.text, /^\d+\n$/);
    assert.notEqual(second.text, first.text);
    assert.equal(program.log.filter(({ event }) => event === "target.starting").length, 1);
  });

  test("resets the clients of a program that exits at its start, and does not restart it in a loop", async () => {
    await using stack = new AsyncDisposableStack();
    const [port, admin] = [await freePort(), await freePort()];
    const yaml = `admin: { listen: "127.0.0.1:${admin}" }
services: { it: { ports: ["${port}"], process: { command: [/bin/sh, -c, "sleep 0.1; echo oops; exit 3"], activation: listen_fds } } }\n`;
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("started");
    const began = performance.now();
    const first = connecting(port);
    assert.equal(await first.ended(), "ECONNRESET");
    assert.ok(performance.now() - began < 2_000);
    const refused = await program.logged("connection.closed");
    assert.equal(refused["outcome"], "start_failed");
    assert.match(String(refused["error"]), /exited with code 3/);
    const second = connecting(port);
    assert.equal(await second.ended(), "ECONNRESET");
    assert.match(String((await program.logged("connection.closed", 2))["error"]), /next attempt in/);
    assert.equal(program.log.filter(({ event }) => event === "target.starting").length, 1);
  });
});

suite("wakeport check", () => {
  test("reports keys that cannot be combined with a passed listener", async () => {
    await using file = await temporaryFile(
      "wakeport.yaml",
      `services:
  a: { ports: ["7001"], inetd: { command: [/bin/cat], wait: true, stderr: socket }, limits: { waiting: 5 } }
  b: { ports: ["7002"], inetd: { command: [/bin/cat], umask: 27, rlimits: { nofile: 77:50 } }, idle_timeout: 5m }\n`,
    );
    const { code, stderr } = await wakeport(["check", "-c", file.path]);
    assert.equal(code, 2);
    assert.match(stderr, /"limits" would apply to the first client only/);
    assert.match(stderr, /activation: listen_fds/);
    assert.match(stderr, /stderr/);
    assert.match(stderr, /umask is octal/);
    assert.match(stderr, /the soft limit is above the hard one/);
  });
});

function listens(port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`:${hex} \\S+ 0A `).test(readFileSync("/proc/net/tcp6", "utf8"));
}
