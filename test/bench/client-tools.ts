/** Load generators of other projects, and the servers that they need. */
import { execFile, execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { chown } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { freePort } from "../support/free-port.ts";
import { temporaryFolder } from "./folder.ts";
import { dialWhenOpen } from "./ports.ts";
import { Program } from "./program.ts";
import { locate, type Requirement } from "./programs.ts";
import type { Serve } from "./relayed.ts";

export interface Tool {
  /** The name of the metric. */
  readonly name: string;
  readonly title: string;
  readonly needs: readonly Requirement[];
  /** Prepares the data of servers, of which any number may run. */
  prepare(owned: AsyncDisposableStack): Promise<Serve>;
  /** Runs for about a second. */
  command(port: number): readonly string[];
  /** Finds requests a second in what the command prints. */
  readonly rate: RegExp;
}

const COMMAND_MS = 60_000;
const START_MS = 15_000;
const run = promisify(execFile);

const nginx: Requirement = { file: "nginx", comesFrom: "Debian package nginx-light" };

const pgbench: Tool = {
  name: "pgbench",
  title: "pgbench -S -c 20",
  needs: [
    { file: "initdb", comesFrom: "Debian package postgresql" },
    { file: "pgbench", comesFrom: "Debian package postgresql-contrib" },
  ],
  prepare: preparePostgres,
  command: (port) => ["pgbench", ...pgbenchAt(port), "-S", "-n", "-c", "20", "-T", "2", "postgres"],
  rate: /^tps = ([\d.]+)/m,
};

const redisBenchmark: Tool = {
  name: "redis",
  title: "redis-benchmark GET -c 50",
  needs: [
    { file: "redis-server", comesFrom: "Debian package redis-server" },
    { file: "redis-benchmark", comesFrom: "Debian package redis-tools" },
  ],
  prepare: () =>
    Promise.resolve((port) => [locate("redis-server"), "--port", `${port}`, "--bind", "127.0.0.1", "--save", ""]),
  command: (port) => ["redis-benchmark", "-p", `${port}`, "-t", "get", "-c", "50", "-n", "40000", "--csv"],
  rate: /^"GET","([\d.]+)"/m,
};

const wrk: Tool = {
  name: "wrk",
  title: "wrk -c 50, keep-alive",
  needs: [nginx, { file: "wrk", comesFrom: "Debian package wrk" }],
  prepare: prepareWeb,
  command: (port) => ["wrk", "-t", "1", "-c", "50", "-d", "1s", `http://127.0.0.1:${port}/`],
  rate: /^Requests\/sec:\s+([\d.]+)/m,
};

const ab: Tool = {
  name: "ab",
  title: "ab -c 16, a connection each",
  needs: [nginx, { file: "ab", comesFrom: "Debian package apache2-utils" }],
  prepare: prepareWeb,
  // The time ends the run before the count does.
  command: (port) => ["ab", "-q", "-c", "16", "-t", "1", "-n", "100000", `http://127.0.0.1:${port}/`],
  rate: /^Requests per second:\s+([\d.]+)/m,
};

export const allTools: readonly Tool[] = [pgbench, redisBenchmark, wrk, ab];

function pgbenchAt(port: number): readonly string[] {
  return ["-h", "127.0.0.1", "-p", `${port}`, "-U", "postgres"];
}

/** Makes one database cluster and copies it for each server. Root must change to another user: postgres refuses root. */
async function preparePostgres(owned: AsyncDisposableStack): Promise<Serve> {
  const folder = temporaryFolder(owned);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) await chown(folder, ...(await accountOf("postgres")));
  const asUser = isRoot ? [locate("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];
  const template = join(folder, "template");
  const serverIn = (data: string, port: number): readonly string[] => [
    ...asUser,
    ...[locate("postgres"), "-D", data, "-p", `${port}`, "-h", "127.0.0.1", "-k", "", "-F"],
  ];
  await runCommand([...asUser, locate("initdb"), "-D", template, "-A", "trust", "-U", "postgres", "--no-sync"]);
  const port = await freePort();
  const server = await Program.start(serverIn(template, port));
  (await dialWhenOpen(port, AbortSignal.any([server.ended, AbortSignal.timeout(START_MS)]))).destroy();
  await runCommand(["pgbench", ...pgbenchAt(port), "-i", "-q", "postgres"]);
  await server.stop();
  return (serverPort) => {
    const data = join(folder, `${serverPort}`);
    // With its owner.
    execFileSync("cp", ["-a", template, data]);
    return serverIn(data, serverPort);
  };
}

/** User and group of an account of the system. */
async function accountOf(name: string): Promise<[number, number]> {
  const id = async (option: string): Promise<number> => Number((await run("id", [option, name])).stdout);
  return [await id("-u"), await id("-g")];
}

/** An answer of a few bytes, so that the relay is measured and not the server. */
function prepareWeb(owned: AsyncDisposableStack): Promise<Serve> {
  const folder = temporaryFolder(owned);
  return Promise.resolve((port) => {
    const file = join(folder, `${port}.conf`);
    writeFileSync(
      file,
      `daemon off; master_process off; pid ${folder}/${port}.pid; error_log stderr;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${port} backlog=4096; return 200 "ok"; } }
`,
    );
    return [locate("nginx"), "-e", "stderr", "-c", file];
  });
}

async function runCommand([file = "", ...args]: readonly string[]): Promise<void> {
  await run(locate(file), args, { timeout: COMMAND_MS });
}
