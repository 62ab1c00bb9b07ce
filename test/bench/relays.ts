import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../support/free-port.ts";
import { Program } from "./program.ts";

/** The server program: where it listens and how to start it. */
export interface Upstream {
  readonly port: number;
  readonly command: readonly string[];
}

export interface RunningRelay {
  readonly port: number;
  /** Null if there is no relay between client and server. */
  readonly program: Program | null;
  stop(): Promise<void>;
}

export interface Relay {
  readonly name: string;
  /** Whether the relay starts the upstream on demand. */
  readonly startsUpstream: boolean;
  /** The missing program; null if all are installed. */
  missing(): string | null;
  start(upstream: Upstream): Promise<RunningRelay>;
}

interface Requirement {
  readonly file: string;
  readonly comesFrom: string;
}

interface Setting {
  readonly listenPort: number;
  readonly upstream: Upstream;
  readonly folder: string;
  readonly configFile: string;
}

interface ConfigFile {
  readonly name: string;
  text(setting: Setting): string | Promise<string>;
}

/** A relay program, configured by arguments and optionally a file. */
interface Recipe {
  readonly name: string;
  readonly needs: readonly Requirement[];
  readonly startsUpstream?: boolean;
  readonly config?: ConfigFile;
  command(setting: Setting): readonly string[];
}

const SYSTEM_FOLDERS = ["/usr/sbin", "/usr/lib/systemd", "/lib/systemd", "/usr/lib/nginx/modules"];
const WAKEPORT = join(import.meta.dirname, "../../bin/wakeport");

/** The control of the experiment: failures here are faults of the harness. */
const direct: Relay = {
  name: "direct",
  startsUpstream: false,
  missing: () => null,
  start: ({ port }) => Promise.resolve({ port, program: null, stop: () => Promise.resolve() }),
};

const haproxy: Recipe = {
  name: "haproxy",
  needs: [{ file: "haproxy", comesFrom: "Debian package haproxy" }],
  config: {
    name: "haproxy.cfg",
    text: ({ listenPort, upstream }) => `
global
  maxconn 9700
  maxpipes 200
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen bench
  bind 127.0.0.1:${listenPort}
  server upstream 127.0.0.1:${upstream.port}
`,
  },
  command: ({ configFile }) => [locate("haproxy"), "-db", "-f", configFile],
};

const nginx: Recipe = {
  name: "nginx",
  needs: [
    { file: "nginx", comesFrom: "Debian package nginx-light" },
    { file: "ngx_stream_module.so", comesFrom: "Debian package libnginx-mod-stream" },
  ],
  config: {
    name: "nginx.conf",
    text: ({ listenPort, upstream, folder }) => `
load_module ${locate("ngx_stream_module.so")};
worker_processes auto;
daemon off;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 20000; }
stream {
  server {
    listen 127.0.0.1:${listenPort};
    proxy_pass 127.0.0.1:${upstream.port};
    proxy_half_close on;
  }
}
`,
  },
  command: ({ configFile }) => [locate("nginx"), "-e", "stderr", "-c", configFile],
};

const socat: Recipe = {
  name: "socat",
  needs: [{ file: "socat", comesFrom: "Debian package socat" }],
  command: ({ listenPort, upstream }) => [
    locate("socat"),
    // After one direction has ended, the default timeout of the other is 0.5 s, too short for a slow reply.
    "-t60",
    `TCP-LISTEN:${listenPort},bind=127.0.0.1,reuseaddr,fork,backlog=1024`,
    `TCP:127.0.0.1:${upstream.port}`,
  ],
};

const socketProxyd: Recipe = {
  name: "socket-proxyd",
  needs: [
    { file: "systemd-socket-activate", comesFrom: "Debian package systemd" },
    { file: "systemd-socket-proxyd", comesFrom: "Debian package systemd" },
  ],
  command: ({ listenPort, upstream }) => [
    locate("systemd-socket-activate"),
    `--listen=127.0.0.1:${listenPort}`,
    locate("systemd-socket-proxyd"),
    "--connections-max=4096",
    `127.0.0.1:${upstream.port}`,
  ],
};

const wakeport: Recipe = {
  name: "wakeport",
  needs: [{ file: WAKEPORT, comesFrom: "this repository" }],
  startsUpstream: true,
  config: {
    name: "wakeport.yaml",
    text: async ({ listenPort, upstream }) => `
admin: { listen: 127.0.0.1:${await freePort()} }
services:
  bench:
    ports: ["127.0.0.1:${listenPort}"]
    process: { command: ${JSON.stringify(upstream.command)}, listen: 127.0.0.1:${upstream.port} }
    idle_timeout: 10m
`,
  },
  command: ({ configFile }) => [WAKEPORT, "run", "--config", configFile],
};

export const relays: readonly Relay[] = [direct, ...[haproxy, nginx, socat, socketProxyd, wakeport].map(toRelay)];

export function relayNamed(name: string): Relay {
  const relay = relays.find((candidate) => candidate.name === name);
  if (relay !== undefined) return relay;
  throw new Error(`Unknown relay "${name}", expected one of: ${relays.map((known) => known.name).join(", ")}`);
}

function toRelay(recipe: Recipe): Relay {
  return {
    name: recipe.name,
    startsUpstream: recipe.startsUpstream ?? false,
    missing: () => missingOf(recipe.needs),
    start: (upstream) => startRecipe(recipe, upstream),
  };
}

async function startRecipe(recipe: Recipe, upstream: Upstream): Promise<RunningRelay> {
  await using undo = new AsyncDisposableStack();
  const folder = temporaryFolder(undo);
  const { config } = recipe;
  const setting = { listenPort: await freePort(), upstream, folder, configFile: join(folder, config?.name ?? "none") };
  if (config !== undefined) await writeFile(setting.configFile, await config.text(setting));
  const program = await Program.start(recipe.command(setting));
  undo.defer(() => program.stop());

  const running = undo.move();
  return { port: setting.listenPort, program, stop: () => running.disposeAsync() };
}

/** Removed when the relay stops or this process ends. */
function temporaryFolder(owner: AsyncDisposableStack): string {
  const folder = mkdtempSync(join(tmpdir(), "relay-bench-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  owner.defer(() => {
    process.off("exit", remove);
    remove();
  });
  return folder;
}

function missingOf(needs: readonly Requirement[]): string | null {
  const absent = needs.filter(({ file }) => find(file) === null);
  if (absent.length === 0) return null;
  return [...new Set(absent.map(({ comesFrom }) => comesFrom))].join(", ");
}

function locate(file: string): string {
  const path = find(file);
  if (path === null) throw new Error(`Cannot find "${file}"`);
  return path;
}

function find(file: string): string | null {
  const folders = [...(process.env["PATH"] ?? "").split(":"), ...SYSTEM_FOLDERS];
  return folders.map((folder) => resolve(folder, file)).find((path) => existsSync(path)) ?? null;
}
