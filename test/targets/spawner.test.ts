/** What both spawners do. test/targets/spawn.test.ts tests settings and errors with both of them as well. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import process, { kill } from "node:process";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import type { Exit } from "../../src/activation/errors.ts";
import { descriptors } from "../../src/ffi/descriptors.ts";
import { loadLibc } from "../../src/ffi/libc.ts";
import { socketFd } from "../../src/net/socket-fd.ts";
import { NodeSpawner } from "../../src/targets/node-spawner.ts";
import { PosixSpawner } from "../../src/targets/posix-spawner.ts";
import type { Executable, Spawner, SpawnRequest } from "../../src/targets/spawner.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const HAND_OFFS = 1_000;
const AT_A_TIME = 20;
/** Default of libuv. */
const POOL_THREADS = 4;
const env = { PATH: "/usr/bin:/bin" };

// Inheritable, as a descriptor of the parent of wakeport: the spawners must exist after it.
const secret = openSync("/etc/passwd", "r");
loadLibc().find("int dup(int)")(secret);
closeSync(secret);
const spawners: readonly [string, Spawner][] = [
  ["spawn() of Node", new NodeSpawner()],
  ["posix_spawn", new PosixSpawner(loadLibc())],
];

/** PIDs of the children of this process that have ended and were not reaped. */
function zombies(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => statOf(pid).startsWith(`Z ${process.pid} `))
    .map(Number);
}

/** The fields of /proc/PID/stat after the name; empty if the process is gone. */
function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "");
  } catch {
    return "";
  }
}

function folder(): Disposable & { readonly path: string } {
  const made = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
  return { path: made, [Symbol.dispose]: () => rmSync(made, { recursive: true }) };
}

/** An accepted connection that is not read, and its client. */
async function accepted(): Promise<AsyncDisposable & { readonly socket: net.Socket; readonly client: net.Socket }> {
  const server = net.createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [net.Socket];
  const dispose = async (): Promise<void> => {
    client.destroy();
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { socket, client, [Symbol.asyncDispose]: dispose };
}

function isNonBlocking(fd: number): boolean {
  const [, flags = ""] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")) ?? [];
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}

for (const [name, spawner] of spawners) {
  const outputOf = async (file: string, args: readonly string[], more: Partial<Executable> = {}): Promise<string> => {
    const program = { file, args, env, ...more };
    const child = await spawner.spawn({ program, stdio: ["ignore", "pipe", "ignore"] });
    const [out] = await Promise.all([text(child.stdout!), child.exited]);
    return out;
  };
  const exitOf = async (file: string, ...args: string[]): Promise<Exit> => {
    const child = await spawner.spawn({ program: { file, args, env }, stdio: ["ignore", "ignore", "ignore"] });
    return child.exited;
  };

  suite(`a program started with ${name}`, () => {
    test("has exactly the given environment", async () => {
      assert.equal(await outputOf("/usr/bin/env", [], { env: { A: "b=c", B: "", C: "ü\n" } }), "A=b=c\nB=\nC=ü\n\n");
      assert.equal(await outputOf("/usr/bin/env", [], { env: {} }), "");
    });

    test("has the variables of its start instead of those of the program", async () => {
      const program = { file: "/usr/bin/env", args: [], env: { A: "1", B: "2" } };
      for (const variables of [{ B: "3", C: "4" }, { C: "5" }]) {
        const child = await spawner.spawn({ program, variables, stdio: ["ignore", "pipe", "ignore"] });
        const lines = (await text(child.stdout!)).trim().split("\n").sort();
        await child.exited;
        assert.deepEqual(lines, "B" in variables ? ["A=1", "B=3", "C=4"] : ["A=1", "B=2", "C=5"]);
      }
    });

    test("has its streams and no other descriptor of wakeport", async () => {
      const list = 'for fd in /proc/$$/fd/*; do echo "${fd##*/}"; readlink "$fd"; done';
      const lines = (await outputOf("/bin/sh", ["-c", list])).matchAll(/^(\d+)\n(.*)$/gm);
      const files = new Map([...lines].map(([, fd, file]) => [Number(fd), file]));
      assert.equal(files.get(0), "/dev/null");
      assert.match(files.get(1) ?? "", /^(pipe|socket):/);
      assert.equal(files.get(2), "/dev/null");
      // The shell has closed the descriptor of the folder, whose file is unknown then.
      const others = [...files].filter(([fd, file]) => fd > 2 && file !== "" && file !== "/dev/null");
      assert.deepEqual(others, []);
    });

    test("has no blocked and no ignored signal", async () => {
      const status = await outputOf("/bin/cat", ["/proc/self/status"]);
      assert.match(status, /^SigBlk:\s0+$/m);
      assert.match(status, /^SigIgn:\s0+$/m);
    });

    test("leads its own session and process group", async () => {
      const child = await spawner.spawn({
        program: { file: "/bin/cat", args: ["/proc/self/stat"], env },
        stdio: ["ignore", "pipe", "ignore"],
      });
      const [, group, session] = (await text(child.stdout!)).replace(/^.*\) \S /s, "").split(" ");
      await child.exited;
      assert.deepEqual([group, session], [String(child.pid), String(child.pid)]);
    });

    test("leads its own process group where it may share the session", async () => {
      const stat = await outputOf("/bin/cat", ["/proc/self/stat"], { sharesSession: true });
      const [pid, , group] = stat.replace(/\(.*\) \S /s, "").split(" ");
      assert.equal(group, pid);
    });

    test("is found in PATH of its own environment, also relative to its cwd", async () => {
      using made = folder();
      const file = path.join(made.path, "own-program");
      writeFileSync(file, "#!/bin/sh\necho found\n");
      chmodSync(file, 0o755);
      assert.equal(await outputOf("own-program", [], { env: { PATH: `/no/such:${made.path}:/bin` } }), "found\n");
      assert.equal(await outputOf("own-program", [], { env: { PATH: "" }, cwd: made.path }), "found\n");
      assert.equal(await outputOf("./own-program", [], { cwd: made.path }), "found\n");
      assert.equal(await outputOf("echo", ["without PATH"], { env: {} }), "without PATH\n");
    });

    test("may be a script without an interpreter line", async () => {
      using made = folder();
      const file = path.join(made.path, "script");
      writeFileSync(file, 'echo "$0" "$1"\n');
      chmodSync(file, 0o755);
      assert.equal(await outputOf(file, ["argument"]), `${file} argument\n`);
    });

    test("has a connection that blocks, also if this process closes its own copy at once", async () => {
      await using connection = await accepted();
      const { socket, client } = connection;
      const starting = spawner.spawn({
        program: { file: "/bin/cat", args: [], env },
        stdio: [socket, socket, "ignore"],
      });
      socket.destroy();
      const child = await starting;
      // If reads did not block, cat would have failed before this.
      client.end("echo this");
      assert.equal(await text(client), "echo this");
      assert.deepEqual(await child.exited, { code: 0 });
    });

    test("reads what this process writes to its stdin", async () => {
      const child = await spawner.spawn({
        program: { file: "/bin/cat", args: [], env },
        stdio: ["pipe", "pipe", "ignore"],
      });
      child.stdin?.end("input");
      assert.equal(await text(child.stdout!), "input");
      assert.deepEqual(await child.exited, { code: 0 });
    });

    test("is reported with its exit code, also if it ends at once", async () => {
      assert.deepEqual(await exitOf("/bin/true"), { code: 0 });
      assert.deepEqual(await exitOf("/bin/sh", "-c", "exit 255"), { code: 255 });
    });

    test("is reported with the signal that ended it", async () => {
      assert.deepEqual(await exitOf("/bin/sh", "-c", "kill -TERM $$"), { signal: "SIGTERM" });
      const child = await spawner.spawn({
        program: { file: "/bin/sleep", args: ["600"], env },
        stdio: ["ignore", "ignore", "ignore"],
      });
      kill(child.pid, "SIGKILL");
      assert.deepEqual(await child.exited, { signal: "SIGKILL" });
    });

    test("leaves no zombie and no descriptor", async () => {
      const before = readdirSync("/proc/self/fd").length;
      let left = HAND_OFFS;
      const starter = async (): Promise<void> => {
        while (left-- > 0) {
          const child = await spawner.spawn({
            program: { file: "/bin/true", args: [], env },
            stdio: ["ignore", "ignore", "pipe"],
          });
          const [exit] = await Promise.all([child.exited, text(child.stderr!)]);
          assert.deepEqual(exit, { code: 0 });
        }
      };
      await Promise.all(Array.from({ length: AT_A_TIME }, starter));
      assert.deepEqual(zombies(), []);
      assert.equal(readdirSync("/proc/self/fd").length, before);
    });

    test("does not take the exits of Node's own children", async () => {
      for (let round = 0; round < AT_A_TIME; round += 1) {
        const children = [3, 4].map((code) => spawn("/bin/sh", ["-c", `exit ${code}`], { stdio: "ignore" }));
        const [first, second, ...own] = await Promise.all([
          ...children.map((child) => once(child, "exit")),
          exitOf("/bin/sh", "-c", "exit 5"),
          exitOf("/bin/sh", "-c", "exit 6"),
        ]);
        assert.deepEqual(
          [first, second, own],
          [
            [3, null],
            [4, null],
            [{ code: 5 }, { code: 6 }],
          ],
        );
      }
    });

    test("rejects a command with a NUL byte", async () => {
      await assert.rejects(outputOf("/bin/echo", ["a\0b"]));
      await assert.rejects(outputOf("/bin/echo", [], { env: { A: "\0" } }));
    });
  });
}

suite("posix_spawn", () => {
  test("starts programs after this process has closed a descriptor that it inherited", async () => {
    const inherited = loadLibc().find("int dup(int)")(0);
    const spawner = new PosixSpawner(loadLibc());
    closeSync(inherited);
    const child = await spawner.spawn({
      program: { file: "/bin/cat", args: [], env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin?.end("input");
    assert.equal(await text(child.stdout!), "input");
    assert.deepEqual(await child.exited, { code: 0 });
  });
});

suite("a program that shares the session", () => {
  test("leads no session, unless this process has a terminal", async () => {
    const [, [, posix]] = spawners as [unknown, [string, Spawner]];
    const program = { file: "/bin/cat", args: ["/proc/self/stat"], env, sharesSession: true };
    const child = await posix.spawn({ program, stdio: ["ignore", "pipe", "ignore"] });
    const sessionOf = (stat: string): string | undefined => stat.replace(/^.*\) /s, "").split(" ")[3];
    const session = sessionOf(await text(child.stdout!));
    await child.exited;
    const own = readFileSync("/proc/self/stat", "utf8");
    const hasTerminal = /\) \S \d+ \d+ \d+ [^0]/.test(own);
    assert.equal(session, hasTerminal ? String(child.pid) : sessionOf(own));
  });
});

suite("killStarting()", () => {
  const program = { file: "/bin/sleep", args: ["600"], env };
  const sleep: SpawnRequest = { program, stdio: ["ignore", "ignore", "ignore"] };

  test("kills the programs that are being started, without a turn of the event loop", async () => {
    const spawner = new PosixSpawner(loadLibc());
    const starts = Array.from({ length: POOL_THREADS }, () => spawner.spawn(sleep));
    spawner.killStarting();
    for (const child of await Promise.all(starts)) assert.deepEqual(await child.exited, { signal: "SIGKILL" });
  });

  test("kills no program that has started", async () => {
    const spawner = new PosixSpawner(loadLibc());
    const child = await spawner.spawn(sleep);
    spawner.killStarting();
    kill(child.pid, "SIGTERM");
    assert.deepEqual(await child.exited, { signal: "SIGTERM" });
  });

  test("prevents a start that still waits for a thread", async () => {
    const libc = loadLibc();
    const spawner = new PosixSpawner(libc);
    const read = libc.findThreaded("long read(int, void *, size_t)");
    const { readEnd, writeEnd } = descriptors(libc).pipe();
    const blocked = Array.from({ length: POOL_THREADS }, () => read(readEnd, Buffer.alloc(1), 1));
    const start = spawner.spawn(sleep);
    spawner.killStarting();
    closeSync(writeEnd);
    await assert.rejects(start, { code: "ENOENT" });
    await Promise.all(blocked);
    closeSync(readEnd);
  });
});

suite("a program that posix_spawn cannot start", () => {
  test("leaves the connection as it was, and no descriptor", async () => {
    await using connection = await accepted();
    const { socket } = connection;
    const before = readdirSync("/proc/self/fd").length;
    const [, [, posix]] = spawners as [unknown, [string, Spawner]];
    await assert.rejects(
      posix.spawn({ program: { file: "/no/such", args: [], env }, stdio: [socket, socket, "pipe"] }),
      {
        code: "ENOENT",
      },
    );
    assert.ok(isNonBlocking(socketFd(socket)));
    assert.equal(readdirSync("/proc/self/fd").length, before);
  });
});
