/**
 * The first client of a server that starts in seconds, and rejects connections itself during its start:
 * no client may get an error. WAKEPORT_TEST_COLD_STARTS=20 makes 20 cold starts of each server.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Program } from "../support/program/program.ts";
import { cannotServe, Servers } from "../support/program/servers.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const run = promisify(execFile);
const ROUNDS = Number(process.env["WAKEPORT_TEST_COLD_STARTS"] ?? 2);
const START_S = 3;
/** Redis loads them in some seconds. */
const REDIS_KEYS = 3_000_000;
const CLIENT_MS = 90_000;
const VSFTPD = "/usr/sbin/vsftpd";

interface Subject {
  readonly protocol: string;
  /** A shell command that ends with the command of the server. */
  readonly command: (port: number) => readonly string[];
  readonly user?: string;
  /** A client program and its arguments. */
  readonly client: (port: string) => readonly [string, readonly string[]];
  readonly answer: RegExp;
}

function precededBy(first: string, command: readonly string[]): readonly string[] {
  return ["/bin/sh", "-c", `${first}; exec "$@"`, "sh", ...command];
}

const missing = existsSync(VSFTPD) ? undefined : `there is no ${VSFTPD}: run test/engine/tools`;

suite("cold starts of several seconds", { skip: cannotServe() ?? missing ?? false }, () => {
  const stack = new AsyncDisposableStack();
  let servers: Servers;

  before(async () => {
    servers = stack.use(await Servers.make());
    await mkdir(path.join(servers.folder, "ftp"));
    // The server reads regular files only.
    await writeFile(path.join(servers.folder, "vsftpd.conf"), "");
    await populateRedis(servers, stack);
  });
  after(() => stack.disposeAsync());

  const subjects: Readonly<Record<string, () => Subject>> = {
    Redis: () => ({
      protocol: "redis",
      command: (port) => servers.of("redis", port).command,
      client: (port) => ["redis-cli", ["-h", "127.0.0.1", "-p", port, "DBSIZE"]],
      answer: new RegExp(`^${REDIS_KEYS}$`, "m"),
    }),
    PostgreSQL: () => {
      const data = path.join(servers.folder, "postgres");
      // Recovery from an archive: the server requests some files one by one.
      const settings = ["-c", `restore_command=sleep ${START_S / 3}; false`, "-c", "hot_standby=off"];
      return {
        protocol: "postgres",
        user: "postgres",
        command: (port) =>
          precededBy(`touch ${data}/recovery.signal`, [...servers.of("postgres", port).command, ...settings]),
        client: (port) => [
          "psql",
          ["-AtXc", "select 6 * 7", `host=127.0.0.1 port=${port} user=postgres dbname=postgres`],
        ],
        answer: /^42$/m,
      };
    },
    MariaDB: () => ({
      protocol: "mysql",
      command: (port) => precededBy(`sleep ${START_S}`, servers.of("mysql", port).command),
      client: (port) => [
        "mariadb",
        ["--no-defaults", "-h", "127.0.0.1", "-P", port, "-u", "root", "-Ne", "select 6 * 7"],
      ],
      answer: /^42$/m,
    }),
    vsftpd: () => ({
      protocol: "ftp",
      command: (port) => precededBy(`sleep ${START_S}`, vsftpd(servers.folder, port)),
      client: (port) => ["curl", ["-sS", "-v", "--stderr", "-", `ftp://127.0.0.1:${port}/`]],
      answer: /^< 226 /m,
    }),
  };

  for (const [name, subjectOf] of Object.entries(subjects)) {
    test(`${name}: the first client of ${ROUNDS} cold starts is served without an error`, async () => {
      const subject = subjectOf();
      await using cold = await ColdService.open(subject);
      const results: string[] = [];
      for (let round = 1; round <= ROUNDS; round += 1) results.push(await cold.firstClient(round));
      const errors = results.filter((text) => !subject.answer.test(text));
      assert.deepEqual(errors, []);
      assert.deepEqual(cold.outcomes, Array(ROUNDS).fill("relayed, cold"));
      assert.ok(cold.shortestWaitMs >= 1_000, `a start took ${cold.shortestWaitMs} ms: it was not slow`);
    });
  }
});

/** A real wakeport whose service is killed after each client. */
class ColdService implements AsyncDisposable {
  readonly #subject: Subject;
  readonly #port: string;
  readonly #program: Program;
  readonly #stack: AsyncDisposable;

  private constructor(subject: Subject, port: number, program: Program, stack: AsyncDisposable) {
    this.#subject = subject;
    this.#port = String(port);
    this.#program = program;
    this.#stack = stack;
  }

  static async open(subject: Subject): Promise<ColdService> {
    await using stack = new AsyncDisposableStack();
    const [port, upstream] = [await freePort(), await freePort()];
    const { protocol, command, user } = subject;
    const service = {
      ports: [`127.0.0.1:${port}`],
      protocol,
      process: { command: command(upstream), listen: `127.0.0.1:${upstream}`, ...(user !== undefined && { user }) },
      idle_timeout: "100ms",
      sleep: "kill",
      start_timeout: "90s",
    };
    const yaml = JSON.stringify({ admin: { listen: `127.0.0.1:${await freePort()}` }, services: { cold: service } });
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
    const program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("started");
    return new ColdService(subject, port, program, stack.move());
  }

  /** Runs the client, then kills the server. @returns the client's output, and its exit code if not 0 */
  async firstClient(round: number): Promise<string> {
    const [file, args] = this.#subject.client(this.#port);
    const text = await run(file, [...args], { timeout: CLIENT_MS }).then(
      ({ stdout }) => stdout,
      (error: { readonly code: unknown; readonly stdout: string; readonly stderr: string }) =>
        `exit ${error.code}: ${error.stdout}${error.stderr}`,
    );
    await this.#program.logged("target.asleep", round);
    return text;
  }

  get outcomes(): string[] {
    return this.#closed.map(({ outcome, start }) => `${outcome}, ${start}`);
  }

  get shortestWaitMs(): number {
    return Math.min(...this.#closed.map(({ wait_ms }) => Number(wait_ms)));
  }

  get #closed() {
    return this.#program.log.filter(({ event, data }) => event === "connection.closed" && data === undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** Creates a dump of many keys, which the server loads. */
async function populateRedis(servers: Servers, stack: AsyncDisposableStack): Promise<void> {
  const port = String(await freePort());
  const [file = "", ...args] = servers.of("redis", Number(port)).command;
  const server = execFile(file, [...args, "--enable-debug-command", "local"]);
  stack.defer(() => void server.kill());
  const redis = (...command: string[]) => run("redis-cli", ["-p", port, ...command]);
  await eventually(
    "Redis responds",
    async () => (await redis("PING").catch(() => ({ stdout: "" }))).stdout === "PONG\n",
  );
  await redis("DEBUG", "POPULATE", String(REDIS_KEYS));
  await redis("SAVE");
  await redis("SHUTDOWN", "NOSAVE").catch(() => {});
}

function vsftpd(folder: string, port: number): readonly string[] {
  const settings = {
    listen: "YES",
    listen_ipv6: "NO",
    listen_address: "127.0.0.1",
    listen_port: port,
    background: "NO",
    anonymous_enable: "YES",
    anon_root: `${folder}/ftp`,
    no_anon_password: "YES",
    seccomp_sandbox: "NO",
    secure_chroot_dir: `${folder}/ftp`,
  };
  return [VSFTPD, `${folder}/vsftpd.conf`, ...Object.entries(settings).map(([key, value]) => `-o${key}=${value}`)];
}
