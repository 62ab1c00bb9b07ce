/**
 * The usual clients of real servers that start slowly or not at all: which clients wait, and which get an error.
 * With WAKEPORT_TEST_START_S=20 the servers start in that many seconds.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { after, before, suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Program } from "../support/program/program.ts";
import { cannotServe, PYTHON, type ServerName, Servers } from "../support/program/servers.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const START_S = Number(process.env["WAKEPORT_TEST_START_S"] ?? 3);
const waited = new Set(["relayed, cold, clean"]);
const MAX_DELAY_MS = 60_000 + START_S * 1_000;

const smtplib = `
import smtplib, sys
smtp = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=60)
print("EHLO", smtp.ehlo())
print("sent", smtp.sendmail("a@b.test", ["c@d.test"], "Subject: hello\\r\\n\\r\\nby smtplib\\r\\n"))
`;

interface ClientOutput {
  readonly code: number;
  /** Both outputs. */
  readonly text: string;
}

function runClient(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ClientOutput> {
  const options = { timeout: MAX_DELAY_MS, env: { ...process.env, ...env } };
  return new Promise((resolve) => {
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), text: `${stdout}${stderr}` });
    });
    child.stdin?.end();
  });
}

suite("the usual clients", { skip: cannotServe() ?? false, concurrency: true }, () => {
  const names: readonly ServerName[] = ["smtp", "ssh", "mysql", "redis", "postgres"];
  const ports = new Map<string, number>();
  const stack = new AsyncDisposableStack();
  let program: Program;
  let servers: Servers;

  const port = (service: string): string => String(ports.get(service));

  /** Waits for `count` connections of a service. @returns their outcomes */
  const addresses = async (service: string, count: number): Promise<Set<string>> => {
    const closed = () =>
      program.log.filter((line) => line.event === "connection.closed" && line["service"] === service);
    await eventually(`${count} connections of ${service} end`, () => closed().length >= count);
    return new Set(closed().map(({ outcome, start, end }) => `${outcome}, ${start}, ${end}`));
  };

  before(async () => {
    servers = stack.use(await Servers.make());
    const services: Record<string, unknown> = {};
    const add = async (service: string, name: ServerName, command: (port: number) => readonly string[], more = {}) => {
      const upstream = await freePort();
      ports.set(service, await freePort());
      const { user, ...settings } = { ...more } as { readonly user?: string };
      services[service] = {
        ports: [`127.0.0.1:${port(service)}`],
        protocol: name,
        process: { command: command(upstream), listen: `127.0.0.1:${upstream}`, ...(user && { user }) },
        start_timeout: "90s",
        ...settings,
      };
    };
    const slow = (command: readonly string[]) => ["/bin/sh", "-c", `sleep ${START_S}; exec "$@"`, "sh", ...command];
    const broken = ["/bin/sh", "-c", `sleep ${START_S}; exit 1`];
    for (const name of names) {
      const { settings } = servers.of(name, 0);
      await add(name, name, (upstream) => slow(servers.of(name, upstream).command), settings);
      await add(`broken-${name}`, name, () => broken);
    }
    const yaml = JSON.stringify({ admin: { listen: `127.0.0.1:${await freePort()}` }, services });
    const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
    program = stack.use(new Program(["run", "-c", file.path]));
    await program.logged("started");
  });
  after(() => stack.disposeAsync());

  const mailers = (service: string): Promise<readonly ClientOutput[]> => {
    const message = ["--from", "a@b.test", "--to", "c@d.test", "--body", "by swaks"];
    const envelope = ["--mail-from", "a@b.test", "--mail-rcpt", "c@d.test", "-T", servers.key];
    return Promise.all([
      runClient(PYTHON, ["-c", smtplib, port(service)]),
      runClient("swaks", ["--server", "127.0.0.1", "--port", port(service), ...message]),
      runClient("curl", ["-sSv", "-m", "60", `smtp://127.0.0.1:${port(service)}`, ...envelope]),
    ]);
  };

  test("SMTP: smtplib, swaks and curl wait with a begun greeting, and deliver", async () => {
    const [python, swaks, curl] = await mailers("smtp");
    assert.match(python!.text, /EHLO \(250.*\nsent \{\}/);
    assert.match(swaks!.text, /220-smtp is starting, please wait\r?\n(?:.*220-.*\n)*.*220 .*\n.*EHLO/);
    assert.match(curl!.text, /< 220-smtp is starting, please wait\s.*< 220 .*> EHLO/s);
    assert.deepEqual([python!.code, swaks!.code, curl!.code], [0, 0, 0]);
    assert.deepEqual(await addresses("smtp", 3), waited);
  });

  test("SMTP: clients get a temporary error if the server does not start", async () => {
    const reported = await mailers("broken-smtp");
    for (const { code, text } of reported) {
      assert.notEqual(code, 0, text);
      assert.match(text, /421,? .*4\.3\.2 broken-smtp is not available, try again later/, text);
    }
  });

  const ssh = (service: string, ...options: string[]): Promise<ClientOutput> => {
    const trust = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"];
    return runClient("ssh", [
      "-F",
      "none",
      "-i",
      servers.key,
      ...trust,
      ...options,
      "-p",
      port(service),
      "root@127.0.0.1",
      "echo",
      "in",
    ]);
  };

  test("SSH: ssh waits and logs in", async () => {
    assert.match((await ssh("ssh")).text, /^in$/m);
    assert.deepEqual(await addresses("ssh", 1), waited);
  });

  test("SSH: ssh reports a reset if the server does not start", async () => {
    const { code, text } = await ssh("broken-ssh");
    assert.equal(code, 255);
    assert.match(text, /Connection reset by peer/);
  });

  const mysql = (service: string): Promise<ClientOutput> => {
    return runClient("mariadb", [
      "--no-defaults",
      "-h",
      "127.0.0.1",
      "-P",
      port(service),
      "-u",
      "root",
      "-Ne",
      "select 6 * 7",
    ]);
  };

  test("MySQL: mariadb waits and is served", async () => {
    assert.deepEqual(await mysql("mysql"), { code: 0, text: "42\n" });
    assert.deepEqual(await addresses("mysql", 1), waited);
  });

  test("MySQL: clients get a MySQL error if the server does not start", async () => {
    const { code, text } = await mysql("broken-mysql");
    assert.equal(code, 1);
    assert.match(text, /1053.*broken-mysql is not available, try again later/);
  });

  const redis = (service: string, ...args: string[]): Promise<ClientOutput> => {
    return runClient("redis-cli", ["-h", "127.0.0.1", "-p", port(service), ...args]);
  };

  test("Redis: redis-cli waits and is served", async () => {
    const [ping, set] = await Promise.all([redis("redis", "PING"), redis("redis", "SET", "a", "b")]);
    assert.deepEqual([ping!.text.trim(), set!.text.trim()], ["PONG", "OK"]);
    assert.deepEqual(await addresses("redis", 2), waited);
  });

  test("Redis: clients get an error if the server does not start", async () => {
    assert.match((await redis("broken-redis", "PING")).text, /^ERR broken-redis is not available, try again later/);
  });

  const isEncrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
  const modes = ["disable", "prefer", "require"] as const;
  const psql = (service: string): Promise<ClientOutput[]> => {
    const query = (mode: string): Promise<ClientOutput> =>
      runClient("psql", [
        "-AtXc",
        isEncrypted,
        `host=127.0.0.1 port=${port(service)} user=postgres dbname=postgres sslmode=${mode}`,
      ]);
    return Promise.all(modes.map(query));
  };

  test("PostgreSQL: psql waits and is served in every TLS mode", async () => {
    assert.deepEqual(
      await psql("postgres"),
      ["f\n", "t\n", "t\n"].map((text) => ({ code: 0, text })),
    );
    assert.deepEqual(await addresses("postgres", 3), waited);
  });

  test("PostgreSQL: clients get an error if the server does not start, without details if they do not use TLS", async () => {
    const reported = await psql("broken-postgres");
    assert.deepEqual(
      reported.map(({ code }) => code),
      [2, 2, 2],
    );
    for (const { text } of reported.slice(0, 2))
      assert.match(text, /FATAL: {2}broken-postgres is not available, try again later\n/);
    assert.match(reported[2]!.text, /server does not support SSL, but SSL was required/);
    const ready = await runClient("pg_isready", ["-h", "127.0.0.1", "-p", port("broken-postgres")]);
    assert.match(ready.text, /rejecting connections/);
  });
});
