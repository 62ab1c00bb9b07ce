import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, getPriority, tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import type { Exit } from "../../src/activation/errors.ts";
import { TargetError } from "../../src/errors.ts";
import { loadLibc } from "../../src/ffi/libc.ts";
import { type Program, spawnable } from "../../src/targets/exec-wrapper.ts";
import { NodeSpawner } from "../../src/targets/node-spawner.ts";
import { PosixSpawner } from "../../src/targets/posix-spawner.ts";
import { Launcher } from "../../src/targets/spawn.ts";
import type { fastestSpawner } from "../../src/targets/spawners.ts";
import { accountOf } from "../../src/targets/user-account.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const env = { PATH: "/usr/bin:/bin" };
const nobody = { uid: 65_534, gid: 65_534, groups: [] };
const { PRIORITY_HIGHEST } = constants.priority;
/** The lowest priority of `nice`. */
const PRIORITY_LOW = 19;
const asRoot = { skip: process.getuid?.() !== 0 && "needs root" };

interface Run extends Exit {
  readonly pid: number;
  readonly out: string;
  readonly errors: string;
}

type Runner = (command: Program["command"], more?: Partial<Program>) => Promise<Run>;

/** Returns a function that runs a program to its end. */
function runnerOf(spawnerFor?: typeof fastestSpawner): Runner {
  return async (command, more = {}) => {
    const { pid, exited, stdout, stderr } = await new Launcher({ command, env, ...more }, spawnerFor).launch([
      "ignore",
      "pipe",
      "pipe",
    ]);
    const [exit, out, errors] = await Promise.all([exited, text(stdout!), text(stderr!)]);
    return { pid, ...exit, out, errors };
  };
}

const sh = (script: string): Program["command"] => ["/bin/sh", "-c", script];

function folder(): Disposable & { readonly path: string } {
  const made = mkdtempSync(path.join(tmpdir(), "wakeport-test-"));
  return { path: made, [Symbol.dispose]: () => rmSync(made, { recursive: true }) };
}

const node = new NodeSpawner();
const posix = new PosixSpawner(loadLibc());

for (const [name, spawnerFor] of [
  ["spawn() of Node", () => node],
  ["posix_spawn", (setsAccount: boolean) => (setsAccount ? node : posix)],
] as const) {
  const run = runnerOf(spawnerFor);

  suite(`a program launched with ${name}`, () => {
    /** Returns the fields of /proc/self/status of a program. */
    const statusWith = async (more: Partial<Program>): Promise<ReadonlyMap<string, string>> => {
      const { out } = await run(["/bin/cat", "/proc/self/status"], more);
      return new Map(out.split("\n").map((line) => line.split(/:\s*/, 2) as [string, string]));
    };

    test("has the given umask", async () => {
      assert.equal((await run(sh("umask"), { umask: 0o027 })).out, "0027\n");
      assert.equal((await run(sh("umask"), { umask: 0 })).out, "0000\n");
    });

    test("has the given soft and hard limits, in files, bytes and seconds", async () => {
      const both = (value: number): { soft: number; hard: number } => ({ soft: value, hard: value });
      const limits = {
        nofile: { soft: 50, hard: 77 },
        as: both(512 * 2 ** 20),
        cpu: both(10),
        data: both(2 ** 28),
        stack: both(8 * 2 ** 20),
        rss: both(2 ** 30),
        core: both(0),
      };
      const { out } = await run(["/bin/cat", "/proc/self/limits"], { limits });
      const fields = new Map(
        out.split("\n").map((line) => [line.slice(0, 26).trim(), line.slice(26).trim().split(/\s+/)]),
      );
      const of = (name: string): string[] | undefined => fields.get(name)?.slice(0, 2);
      assert.deepEqual(of("Max open files"), ["50", "77"]);
      assert.deepEqual(of("Max address space"), ["536870912", "536870912"]);
      assert.deepEqual(of("Max cpu time"), ["10", "10"]);
      assert.deepEqual(of("Max data size"), ["268435456", "268435456"]);
      assert.deepEqual(of("Max stack size"), ["8388608", "8388608"]);
      assert.deepEqual(of("Max resident set"), ["1073741824", "1073741824"]);
      assert.deepEqual(of("Max core file size"), ["0", "0"]);
    });

    test("is ended by its CPU limit", async () => {
      const limits = { cpu: { soft: 1, hard: 1 } };
      const { code, signal } = await run(sh("while :; do :; done"), { limits });
      assert.deepEqual({ code, signal }, { code: undefined, signal: "SIGKILL" });
    });

    test("has raised limits as another user, if wakeport is root", asRoot, async () => {
      const limits = { core: { soft: 1_024, hard: "unlimited" } } as const;
      const { out } = await run(sh("id -u; ulimit -H -c; ulimit -S -c"), { limits, account: nobody });
      assert.equal(out, "65534\nunlimited\n2\n");
    });

    test("has the given nice value added to wakeport's own", async () => {
      const { out } = await run(["/usr/bin/nice"], { nice: 5 });
      assert.equal(Number(out), Math.min(getPriority() + 5, PRIORITY_LOW));
    });

    test("has a higher priority as another user, if wakeport is root", asRoot, async () => {
      const { out } = await run(sh("id -u; nice"), { nice: -3, account: nobody });
      assert.equal(out, `65534\n${Math.max(getPriority() - 3, PRIORITY_HIGHEST)}\n`);
    });

    test("has the given user and group, and no other groups", asRoot, async () => {
      const status = await statusWith({ account: nobody });
      assert.equal(status.get("Uid"), "65534\t65534\t65534\t65534");
      assert.equal(status.get("Gid"), "65534\t65534\t65534\t65534");
      assert.equal(status.get("Groups"), "");
    });

    test("has the same account, environment and cwd at its next start", asRoot, async () => {
      const script = 'grep -E "^(Uid|Gid|Groups|CapEff|NoNewPrivs)" /proc/$$/status; env | sort; pwd';
      const program: Program = { command: sh(script), env: { ...env, A: "b" }, account: nobody, cwd: "/tmp" };
      const launcher = new Launcher(program, spawnerFor);
      const outputs: string[] = [];
      for (const _start of [1, 2, 3]) {
        const child = await launcher.launch(["ignore", "pipe", "ignore"], { B: "c" });
        outputs.push(await text(child.stdout!));
        assert.deepEqual(await child.exited, { code: 0 });
      }
      const [first = "", ...next] = outputs;
      assert.match(first, /^Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\nGroups:\s*\n/);
      assert.match(first, /^CapEff:\t0+\n/m);
      assert.deepEqual(next, [first, first]);
    });

    test("has the same argv[0] at its next start as another user, without bash", asRoot, async () => {
      const command: Program["command"] = ["/bin/sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline"];
      const launcher = new Launcher({ command, env, account: nobody, argv0: "in.ftpd" }, (setsAccount) => {
        return setsAccount ? node : { spawn: () => assert.fail("started through bash") };
      });
      for (const _start of [1, 2]) {
        const child = await launcher.launch(["ignore", "pipe", "ignore"]);
        assert.match(await text(child.stdout!), /^in\.ftpd -c/);
        assert.deepEqual(await child.exited, { code: 0 });
      }
    });

    test("has the given groups", asRoot, async () => {
      const status = await statusWith({ account: { ...nobody, groups: [4, 24] } });
      assert.equal(status.get("Groups"), "4 24 ");
      assert.equal(status.get("Uid"), "65534\t65534\t65534\t65534");
    });

    test("has the given argv[0], also with other settings", async () => {
      const printName: Program["command"] = ["/bin/sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline; umask"];
      assert.match((await run(printName, { argv0: "in.ftpd" })).out, /^in\.ftpd -c/);
      assert.match((await run(printName, { argv0: "in.ftpd", umask: 0o077 })).out, /^in\.ftpd -c .*0077\n$/);
    });

    test("has its working directory, environment and arguments unchanged behind wrappers", async () => {
      using made = folder();
      const more = { cwd: made.path, env: { ...env, A: "$(x) 'y'" }, umask: 0o077, nice: 1 };
      const { out } = await run(["/bin/sh", "-c", 'pwd; echo "$A"; echo "$@"', "sh", "$(touch x)", "; *"], more);
      assert.equal(out, `${made.path}\n$(x) 'y'\n$(touch x) ; *\n`);
    });

    test("has the returned PID and leads its process group", async () => {
      const { pid, out } = await run(sh("cut -d ' ' -f 1,5,6 /proc/$$/stat"), {
        umask: 0o077,
        nice: 1,
        argv0: "x",
        limits: { core: { soft: 0, hard: 0 } },
      });
      assert.equal(out, `${pid} ${pid} ${pid}\n`);
    });
  });

  suite(`launch() with ${name}`, () => {
    const fails = async (
      { command, ...more }: Partial<Program> & Pick<Program, "command">,
      fault: string,
      message: RegExp,
    ) =>
      assert.rejects(run(command, more), (error) => {
        assert.ok(error instanceof TargetError);
        assert.equal(error.fault, fault);
        assert.match(error.message, message);
        return true;
      });

    for (const [what, more] of [
      ["without a wrapper", {}],
      ["behind a wrapper", { umask: 0o077 }],
    ] as const) {
      test(`rejects a command that does not exist: ${what}`, async () => {
        await fails({ command: ["/no/such"], ...more }, "missing", /cannot run "\/no\/such": no such command/);
        await fails({ command: ["no-such"], ...more }, "missing", /cannot run "no-such": no such command/);
      });

      test(`rejects a file that is not executable: ${what}`, async () => {
        using made = folder();
        const file = path.join(made.path, "plain");
        writeFileSync(file, "not a program", { mode: 0o644 });
        await fails({ command: [file], ...more }, "denied", /not executable/);
      });

      test(`rejects a working directory that does not exist: ${what}`, async () => {
        await fails({ command: ["/bin/true"], cwd: "/no/such", ...more }, "missing", /no such cwd/);
      });
    }

    test("runs nothing if a limit cannot be set, and passes the message on stderr", async () => {
      const { code, out, errors } = await run(["/bin/echo", "here"], {
        limits: { nofile: { soft: 2 ** 40, hard: 2 ** 40 } },
      });
      assert.equal(code, 125);
      assert.equal(out, "");
      assert.match(errors, /limit/);
    });
  });
}

suite("spawnable()", () => {
  test("names a system program that is missing", () => {
    const find = (name: string, purpose: string): string => {
      throw new TargetError("missing", `no ${name} for ${purpose}`);
    };
    const program: Program = { command: ["/bin/true"], env: {}, nice: 1 };
    assert.throws(() => spawnable(program, find), /no nice for "nice"/);
    const grouped: Program = { command: ["/bin/true"], env: {}, account: { ...nobody, groups: [1] } };
    assert.throws(() => spawnable(grouped, find), /no setpriv for "groups"/);
  });

  const find = (name: string): string => `/bin/${name}`;
  const chain = (more: Partial<Program>): string[] => {
    const { file, args } = spawnable({ command: ["prog", "arg"], env: {}, ...more }, find);
    return [file, ...args];
  };

  test("adds no wrapper for what spawn() can set", () => {
    const program: Program = { command: ["prog", "arg"], env: { A: "b" }, account: nobody, argv0: "x", cwd: "/" };
    const { file, args, isWrapped, uid, gid, argv0 } = spawnable(program, find);
    assert.deepEqual(
      { file, args, isWrapped, uid, gid, argv0 },
      { file: "prog", args: ["arg"], isWrapped: false, uid: 65_534, gid: 65_534, argv0: "x" },
    );
  });

  test("sets an account with setpriv for a spawner that cannot", () => {
    const program: Program = { command: ["prog"], env: {}, account: nobody };
    const { file, args, uid } = spawnable(program, find, false);
    assert.deepEqual(
      [file, ...args],
      ["/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "prog"],
    );
    assert.equal(uid, undefined);
    assert.equal(spawnable({ command: ["prog"], env: {} }, find, false).isWrapped, false);
  });

  test("adds only the wrappers that are needed", () => {
    assert.equal(chain({ umask: 0 })[0], "/bin/sh");
    assert.deepEqual(chain({ nice: 5 }), ["/bin/nice", "-n", "5", "prog", "arg"]);
    const account = { ...nobody, groups: [1, 2] };
    assert.deepEqual(chain({ account }), [
      "/bin/setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--groups=1,2",
      "--",
      "prog",
      "arg",
    ]);
  });
});

suite("accountOf()", () => {
  const own = { uid: 1_000, gid: 1_001 };

  test("returns both a user and a group", () => {
    assert.equal(accountOf({}, own), undefined);
    assert.deepEqual(accountOf({ user: 4_242 }, own), { uid: 4_242, gid: 4_242, groups: [] });
    assert.deepEqual(accountOf({ group: 7 }, own), { uid: 1_000, gid: 7, groups: [] });
    assert.deepEqual(accountOf({ groups: "none" }, own), { uid: 1_000, gid: 1_001, groups: [] });
    const daemon = accountOf({ user: "daemon" }, own);
    assert.deepEqual({ uid: daemon?.uid, gid: daemon?.gid }, { uid: 1, gid: 1 });
  });

  test("drops wakeport's groups only if wakeport may set groups", () => {
    const member = { ...own, groups: [1_001, 998] };
    assert.deepEqual(accountOf({}, { ...member, maySetGroups: true }), { uid: 1_000, gid: 1_001, groups: [] });
    assert.equal(accountOf({}, { ...member, maySetGroups: false }), undefined);
    assert.equal(accountOf({}, { ...own, groups: [1_001], maySetGroups: true }), undefined);
  });

  test("returns the given groups, by name or number", () => {
    assert.deepEqual(accountOf({ user: "daemon", groups: ["adm", 24] }, own)?.groups, [4, 24]);
    assert.throws(() => accountOf({ groups: ["no-such"] }, own), /there is no group "no-such"/);
  });

  test('returns the groups of the user in /etc/group for "init"', async () => {
    const { out } = await runnerOf()(["/usr/bin/id", "-G", "daemon"]);
    const groups = accountOf({ user: "daemon", groups: "init" }, own)?.groups ?? [];
    assert.deepEqual(groups.toSorted(), out.trim().split(" ").map(Number).toSorted());
  });
});
