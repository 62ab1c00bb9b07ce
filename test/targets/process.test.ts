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
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { fixture, ProcessSubject, runs, unlimited } from "../support/targets/process-subject.ts";

checkLeaks();

const env = { PATH: "/usr/bin:/bin" };
const nobody = { uid: 65_534, gid: 65_534, groups: [] };

/** Starts test/fixtures/family.sh and waits for the pids that it prints: of itself, a child and a grandchild. */
async function startFamily(subject: ProcessSubject): Promise<number[]> {
  await subject.target.start(unlimited);
  const line = await subject.untilPrinted(/^family /);
  return line.split(" ").slice(1).map(Number);
}

function untilGone(pids: readonly number[]): Promise<void> {
  return eventually(`left alive: ${pids.filter(runs)}`, () => !pids.some(runs));
}

/** Starts a program that ends by itself, waits for its end, and returns what it printed. */
async function outputOf(subject: ProcessSubject): Promise<readonly string[]> {
  await subject.target.start(unlimited);
  await subject.untilDown();
  await subject.target.lastLines(unlimited);
  return subject.lines;
}

suite("the process group", () => {
  test("has its program as the leader, apart from our own group", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "cut -d ' ' -f 5,6 /proc/$$/stat; sleep 3600"], {
      env,
    });
    await subject.target.start(unlimited);
    const pid = await subject.pid();
    assert.notEqual(pid, process.pid);
    await subject.untilPrinted(`${pid} ${pid}`);
  });

  test("ends as a whole at stop(): child and grandchild too", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stay"], { env });
    const family = await startFamily(subject);
    assert.ok(family.every(runs));
    await subject.target.sleep("stop", unlimited);
    assert.deepEqual(family.filter(runs), []);
  });

  test("is gone though one of its dead is not reaped: nobody may care for those that outlive their parent", async () => {
    // The inner sleep stays a child of the outer one, which leaves the group, goes on, and never waits for it.
    const script = "(sleep 3600 & exec setsid sleep 3600) & echo $!; wait";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env, graceMs: 60_000 });
    await subject.target.start(unlimited);
    const outsider = Number(await subject.untilPrinted(/^\d+$/));
    await eventually("it does not leave the group", () => readFileSync(`/proc/${outsider}/comm`, "utf8") === "sleep\n");
    await subject.target.sleep("stop", AbortSignal.timeout(5_000));
    kill(outsider, "SIGKILL");
  });

  test("has its grace as a whole: a grandchild that ignores SIGTERM is killed after it, though the leader is gone", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stubborn"], { env });
    const family = await startFamily(subject);
    const began = performance.now();
    await subject.target.sleep("stop", unlimited);
    assert.ok(performance.now() - began >= subject.target.graceMs * 0.9);
    assert.deepEqual(family.filter(runs), []);
  });

  test("ends as a whole when its leader exits", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "exit"], { env });
    const family = await startFamily(subject);
    await subject.untilDown();
    await untilGone(family);
    assert.deepEqual(await subject.target.inspect(), { up: false, exit: { code: 3 } });
  });

  test("ends as a whole when its leader is killed, and the look tells by which signal", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stay"], { env });
    const family = await startFamily(subject);
    kill(await subject.pid(), "SIGKILL");
    await subject.untilDown();
    await untilGone(family);
    assert.deepEqual(await subject.target.inspect(), { up: false, exit: { signal: "SIGKILL" } });
  });

  test("ends at once at kill()", async () => {
    await using subject = await ProcessSubject.of([fixture("family.sh"), "stubborn"], { env });
    const family = await startFamily(subject);
    subject.target.kill();
    await untilGone(family);
  });
});

suite("the output", () => {
  test("is told line by line, of stdout and stderr, the last one without a line end too", async () => {
    const script = "echo one; echo two >&2; sleep 0.1; printf 'th'; sleep 0.1; printf 'ree\\r\\nfour'";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env });
    const lines = await outputOf(subject);
    assert.deepEqual([...lines.slice(0, 2)].sort(), ["one", "two"]);
    assert.deepEqual(lines.slice(2), ["three", "four"]);
  });

  test("of a line without end is cut", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"], { env });
    const [line = "", ...more] = await outputOf(subject);
    assert.deepEqual(more, []);
    assert.match(line, /^x{4096} \[…\]$/);
  });

  test("of a flood is thinned, and every line accounted for", async () => {
    await using subject = await ProcessSubject.of(["seq", "1", "100000"], { env });
    const lines = await outputOf(subject);
    const told = lines.filter((line) => /^\d+$/.test(line)).length;
    const leftOut = lines.map((line) => Number(/^\[(\d+) lines dropped\]$/.exec(line)?.[1] ?? 0));
    assert.ok(told < 10_000, `${told} lines told`);
    assert.equal(told + leftOut.reduce((sum, count) => sum + count), 100_000);
  });

  test("of a flood: its last lines are kept, asked for at the moment of the exit", async () => {
    await using subject = await ProcessSubject.of(["seq", "1", "100000"], { env });
    const asked = Promise.withResolvers<readonly string[]>();
    using _watch = subject.target.watch(() => asked.resolve(subject.target.lastLines(unlimited)));
    await subject.target.start(unlimited);
    assert.deepEqual(
      await asked.promise,
      Array.from({ length: 10 }, (_, i) => String(99_991 + i)),
    );
  });

  test("without a line end just before the exit is among the last lines, asked for at that moment", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "echo one; printf two; exit 1"], { env });
    const asked = Promise.withResolvers<readonly string[]>();
    using _watch = subject.target.watch(() => asked.resolve(subject.target.lastLines(unlimited)));
    await subject.target.start(unlimited);
    assert.deepEqual(await asked.promise, ["one", "two"]);
  });

  test("of a life that is over is forgotten at the next start", async () => {
    await using subject = await ProcessSubject.of([fixture("puppet.sh")], { env });
    await subject.target.start(unlimited);
    await subject.untilPrinted("at work");
    kill(await subject.pid(), "SIGUSR2");
    await subject.untilDown();
    assert.deepEqual(await subject.target.lastLines(unlimited), ["at work", "last words"]);
    await subject.target.start(unlimited);
    assert.equal((await subject.target.lastLines(unlimited)).includes("last words"), false);
  });

  test("that somebody outside the group still holds open keeps lastLines() no longer than its signal", async () => {
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", "setsid sleep 5 & echo $!; sleep 0.1"], { env });
    await subject.target.start(unlimited);
    await subject.untilDown();
    const began = performance.now();
    const lines = await subject.target.lastLines(AbortSignal.timeout(50));
    kill(Number(lines[0]), "SIGKILL");
    assert.ok(performance.now() - began < 2_000);
  });
});

suite("the surroundings of a process", () => {
  test("are exactly the environment that it was given", async () => {
    process.env["WAKEPORT_TEST_CANARY"] = "secret";
    try {
      await using subject = await ProcessSubject.of(["/usr/bin/env"], { env: { A: "b", C: "" } });
      assert.deepEqual(await outputOf(subject), ["A=b", "C="]);
    } finally {
      delete process.env["WAKEPORT_TEST_CANARY"];
    }
  });

  test("have no shell: arguments stay what they are", async () => {
    using folder = temporaryFolder();
    await using subject = await ProcessSubject.of(["/bin/echo", "$(touch x)", "; touch y", "a  b", "*"], {
      cwd: folder.path,
    });
    assert.deepEqual(await outputOf(subject), ["$(touch x) ; touch y a  b *"]);
  });

  test("have the directory that was asked for", async () => {
    using folder = temporaryFolder();
    await using subject = await ProcessSubject.of(["/bin/pwd"], { cwd: folder.path });
    assert.deepEqual(await outputOf(subject), [folder.path]);
  });

  test("have no input, and nothing that we hold open", async () => {
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
  test("are those of the user and group asked for, without our own groups", asRoot, async () => {
    await using subject = await ProcessSubject.of(["cat", "/proc/self/status"], { env, account: nobody });
    const status = new Map((await outputOf(subject)).map((line) => line.split(/:\s*/, 2) as [string, string]));
    assert.equal(status.get("Uid"), "65534\t65534\t65534\t65534");
    assert.equal(status.get("Gid"), "65534\t65534\t65534\t65534");
    assert.equal(status.get("Groups"), "");
  });
});

suite("start()", () => {
  test("of a command that does not exist: missing", async () => {
    await using subject = await ProcessSubject.of(["no-such-command"], { env });
    await assertFault(subject, "missing", /cannot run "no-such-command": no such command/);
  });

  test("in a directory that does not exist: missing, and the message names the possibility", async () => {
    await using subject = await ProcessSubject.of(["/bin/true"], { cwd: "/no/such/directory" });
    await assertFault(subject, "missing", /or no such cwd/);
  });

  test("of a file that is not executable: denied", async () => {
    using folder = temporaryFolder();
    const file = path.join(folder.path, "program");
    writeFileSync(file, "#!/bin/sh\n", { mode: 0o644 });
    await using subject = await ProcessSubject.of([file]);
    await assertFault(subject, "denied", /not executable/);
  });

  test("with an argument that is too long: failed", async () => {
    await using subject = await ProcessSubject.of(["/bin/true", "x".repeat(200_000)]);
    await assertFault(subject, "failed", /E2BIG/);
  });

  test("while a stranger listens on its port: conflict, and nothing is run", async () => {
    await using stranger = net.createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
    await once(stranger, "listening");
    const { port } = stranger.address() as net.AddressInfo;
    await using subject = await ProcessSubject.of(["/bin/echo", "hello"], { listen: { host: "127.0.0.1", port } });
    await assertFault(subject, "conflict", new RegExp(`another process already listens on 127.0.0.1:${port}`));
    assert.deepEqual(subject.lines, []);
  });

  test("works after one that failed", async () => {
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
