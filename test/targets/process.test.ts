import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import process, { kill } from "node:process";
import { suite, test } from "node:test";
import { TargetError, type TargetFault } from "../../src/errors.ts";
import { loadPosixSpawn } from "../../src/targets/spawners.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { fixture, ProcessSubject, runs, unlimited } from "../support/targets/process-subject.ts";

checkLeaks();
// test/targets/contract.test.ts starts processes with Node's spawn().
loadPosixSpawn();

const env = { PATH: "/usr/bin:/bin" };
const nobody = { uid: 65_534, gid: 65_534, groups: [] };

/** Starts test/fixtures/family.sh and waits for its output: the PIDs of itself, a child and a grandchild. */
async function startFamily(subject: ProcessSubject): Promise<number[]> {
  await subject.target.start(unlimited);
  const line = await subject.untilPrinted(/^family /);
  return line.split(" ").slice(1).map(Number);
}

function untilGone(pids: readonly number[]): Promise<void> {
  return eventually(`these processes end: ${pids.filter(runs)}`, () => !pids.some(runs));
}

/** Starts a program that ends by itself, waits for its end, and returns its output. */
async function outputOf(subject: ProcessSubject): Promise<readonly string[]> {
  await subject.target.start(unlimited);
  await subject.untilDown();
  await subject.target.lastLines(unlimited);
  return subject.lines;
}

suite("a process group", () => {
  test("has the program as its leader and differs from wakeport's own", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "cut -d ' ' -f 5,6 /proc/$$/stat; sleep 3600"], {
      env,
    });
    await subject.target.start(unlimited);
    const pid = await subject.pid();
    assert.notEqual(pid, process.pid);
    await subject.untilPrinted(`${pid} ${pid}`);
  });

  test("ends with child and grandchild at a stop", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stay"], { env });
    const family = await startFamily(subject);
    assert.ok(family.every(runs));
    await subject.target.sleep("stop", unlimited);
    assert.deepEqual(family.filter(runs), []);
  });

  test("counts as ended if a zombie remains that its parent does not reap", async () => {
    // The inner sleep is a child of the outer one, which leaves the group, keeps running and never reaps it.
    const script = "(sleep 3600 & exec setsid sleep 3600) & echo $!; wait";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env, graceMs: 60_000 });
    await subject.target.start(unlimited);
    const outsider = Number(await subject.untilPrinted(/^\d+$/));
    await eventually(
      "the outer sleep leaves the group",
      () => readFileSync(`/proc/${outsider}/comm`, "utf8") === "sleep\n",
    );
    await subject.target.sleep("stop", AbortSignal.timeout(5_000));
    kill(outsider, "SIGKILL");
  });

  test("gives its grace to a grandchild that ignores SIGTERM after the leader's end, then kills it", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stubborn"], { env });
    const family = await startFamily(subject);
    const began = performance.now();
    await subject.target.sleep("stop", unlimited);
    assert.ok(performance.now() - began >= subject.target.graceMs * 0.9);
    assert.deepEqual(family.filter(runs), []);
  });

  test("ends when its leader exits", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "exit"], { env });
    const family = await startFamily(subject);
    await subject.untilDown();
    await untilGone(family);
    assert.deepEqual(await subject.target.inspect(), { up: false, exit: { code: 3 } });
  });

  test("ends when its leader is killed, and inspect() returns the signal", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stay"], { env });
    const family = await startFamily(subject);
    kill(await subject.pid(), "SIGKILL");
    await subject.untilDown();
    await untilGone(family);
    assert.deepEqual(await subject.target.inspect(), { up: false, exit: { signal: "SIGKILL" } });
  });

  test("ends at kill() without a grace", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stubborn"], { env });
    const family = await startFamily(subject);
    subject.target.kill();
    await untilGone(family);
  });
});

suite("the output of a process", () => {
  test("is reported by line, from stdout and stderr, with an unfinished last line", async () => {
    const script = "echo one; echo two >&2; sleep 0.1; printf 'th'; sleep 0.1; printf 'ree\\r\\nfour'";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env });
    const lines = await outputOf(subject);
    assert.deepEqual([...lines.slice(0, 2)].sort(), ["one", "two"]);
    assert.deepEqual(lines.slice(2), ["three", "four"]);
  });

  test("is cut after 4096 characters of a line", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"], { env });
    const [line = "", ...more] = await outputOf(subject);
    assert.deepEqual(more, []);
    assert.match(line, /^x{4096} \[…\]$/);
  });

  test("is limited per second, with a count of dropped lines", async () => {
    await using subject = await ProcessSubject.of(["seq", "1", "100000"], { env });
    const lines = await outputOf(subject);
    const reported = lines.filter((line) => /^\d+$/.test(line)).length;
    const dropped = lines.map((line) => Number(/^\[(\d+) lines dropped\]$/.exec(line)?.[1] ?? 0));
    assert.ok(reported < 10_000, `${reported} lines`);
    assert.equal(reported + dropped.reduce((sum, count) => sum + count), 100_000);
  });

  test("keeps its last lines under load, also if they are read at the exit", async () => {
    await using subject = await ProcessSubject.of(["seq", "1", "100000"], { env });
    const last = Promise.withResolvers<readonly string[]>();
    using _watch = subject.target.watch(() => last.resolve(subject.target.lastLines(unlimited)));
    await subject.target.start(unlimited);
    assert.deepEqual(
      await last.promise,
      Array.from({ length: 10 }, (_, i) => String(99_991 + i)),
    );
  });

  test("contains an unfinished line among the last lines, also if they are read at the exit", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "echo one; printf two; exit 1"], { env });
    const last = Promise.withResolvers<readonly string[]>();
    using _watch = subject.target.watch(() => last.resolve(subject.target.lastLines(unlimited)));
    await subject.target.start(unlimited);
    assert.deepEqual(await last.promise, ["one", "two"]);
  });

  test("is deleted at the next start", async () => {
    await using subject = await ProcessSubject.of([fixture("puppet.sh")], { env });
    await subject.target.start(unlimited);
    await subject.untilPrinted("at work");
    kill(await subject.pid(), "SIGUSR2");
    await subject.untilDown();
    assert.deepEqual(await subject.target.lastLines(unlimited), ["at work", "last words"]);
    await subject.target.start(unlimited);
    assert.equal((await subject.target.lastLines(unlimited)).includes("last words"), false);
  });

  test("delays lastLines() only until its signal if a process outside the group keeps the pipe open", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "setsid sleep 5 & echo $!; sleep 0.1"], { env });
    await subject.target.start(unlimited);
    await subject.untilDown();
    const began = performance.now();
    const lines = await subject.target.lastLines(AbortSignal.timeout(50));
    kill(Number(lines[0]), "SIGKILL");
    assert.ok(performance.now() - began < 2_000);
  });
});

suite("a started process", () => {
  test("has exactly the given environment", async () => {
    process.env["WAKEPORT_TEST_CANARY"] = "secret";
    try {
      await using subject = await ProcessSubject.of(["/usr/bin/env"], { env: { A: "b", C: "" } });
      assert.deepEqual(await outputOf(subject), ["A=b", "C="]);
    } finally {
      delete process.env["WAKEPORT_TEST_CANARY"];
    }
  });

  test("gets its arguments without a shell", async () => {
    using folder = temporaryFolder();
    await using subject = await ProcessSubject.of(["/bin/echo", "$(touch x)", "; touch y", "a  b", "*"], {
      cwd: folder.path,
    });
    assert.deepEqual(await outputOf(subject), ["$(touch x) ; touch y a  b *"]);
  });

  test("has the given working directory", async () => {
    using folder = temporaryFolder();
    await using subject = await ProcessSubject.of(["/bin/pwd"], { cwd: folder.path });
    assert.deepEqual(await outputOf(subject), [folder.path]);
  });

  test("has /dev/null as stdin and no descriptor of wakeport", async () => {
    await using server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    using folder = temporaryFolder();
    await using _file = await open(path.join(folder.path, "canary"), "w");
    const script = 'for fd in /proc/$$/fd/*; do echo "${fd##*/} $(readlink $fd)"; done';
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env });
    const [input, _stdout, _stderr, ...others] = await outputOf(subject);
    assert.equal(input, "0 /dev/null");
    assert.deepEqual(
      others.filter((line) => /socket:|canary/.test(line)),
      [],
    );
  });

  const asRoot = { skip: process.getuid?.() !== 0 && "needs root" };
  test("has the given user and group, and none of wakeport's groups", asRoot, async () => {
    await using subject = await ProcessSubject.of(["cat", "/proc/self/status"], { env, account: nobody });
    const status = new Map((await outputOf(subject)).map((line) => line.split(/:\s*/, 2) as [string, string]));
    assert.equal(status.get("Uid"), "65534\t65534\t65534\t65534");
    assert.equal(status.get("Gid"), "65534\t65534\t65534\t65534");
    assert.equal(status.get("Groups"), "");
  });
});

suite("start()", () => {
  test("rejects a command that does not exist as missing", async () => {
    await using subject = await ProcessSubject.of(["no-such-command"], { env });
    await assertFault(subject, "missing", /cannot run "no-such-command": no such command/);
  });

  test("rejects a working directory that does not exist as missing", async () => {
    await using subject = await ProcessSubject.of(["/bin/true"], { cwd: "/no/such/directory" });
    await assertFault(subject, "missing", /or no such cwd/);
  });

  test("rejects a file that is not executable as denied", async () => {
    using folder = temporaryFolder();
    const file = path.join(folder.path, "program");
    writeFileSync(file, "#!/bin/sh\n", { mode: 0o644 });
    await using subject = await ProcessSubject.of([file]);
    await assertFault(subject, "denied", /not executable/);
  });

  test("rejects an argument that is too long as failed", async () => {
    await using subject = await ProcessSubject.of(["/bin/true", "x".repeat(200_000)]);
    await assertFault(subject, "failed", /E2BIG/);
  });

  test("rejects a port on which another process listens as a conflict, and starts nothing", async () => {
    await using occupant = net.createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
    await once(occupant, "listening");
    const { port } = occupant.address() as net.AddressInfo;
    await using subject = await ProcessSubject.of(["/bin/echo", "hello"], { listen: { host: "127.0.0.1", port } });
    await assertFault(subject, "conflict", new RegExp(`another process already listens on 127.0.0.1:${port}`));
    assert.deepEqual(subject.lines, []);
  });

  test("succeeds after a failed start", async () => {
    using folder = temporaryFolder();
    const file = path.join(folder.path, "program");
    await using subject = await ProcessSubject.of([file]);
    await assertFault(subject, "missing", /cannot run/);
    writeFileSync(file, "#!/bin/sh\necho hello\n", { mode: 0o755 });
    assert.deepEqual(await outputOf(subject), ["hello"]);
  });
});

async function assertFault({ target }: ProcessSubject, fault: TargetFault, message: RegExp): Promise<void> {
  await assert.rejects(target.start(unlimited), (error) => {
    assert.ok(error instanceof TargetError, String(error));
    assert.equal(error.fault, fault);
    assert.match(error.message, message);
    return true;
  });
  assert.deepEqual(await target.inspect(), { up: false });
}

function temporaryFolder(): Disposable & { readonly path: string } {
  const folder = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
  return { path: folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}
