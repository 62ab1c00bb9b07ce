import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../support/free-port.ts";
import { type Checkout, checkouts, launcherOf, own } from "./checkouts.ts";
import { temporaryFolder } from "./folder.ts";
import { Program } from "./program.ts";
import { locate, missingOf, type Requirement } from "./programs.ts";

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
  /** File descriptors that it needs for each connection. */
  readonly descriptors: number;
  /** The missing program; null if all are installed. */
  missing(): string | null;
  start(upstream: Upstream): Promise<RunningRelay>;
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
  /** Default: 2, the sockets. */
  readonly descriptors?: number;
  readonly config?: ConfigFile;
  command(setting: Setting): readonly string[];
}

/** The control of the experiment: failures here are faults of the harness. */
const direct: Relay = {
  name: "direct",
  startsUpstream: false,
  descriptors: 0,
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
  // Two sockets and two pipes.
  descriptors: 6,
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

/** @param keys further keys of the service: YAML, indented by four spaces */
const wakeport = (checkout: Checkout, name: string, keys: string): Recipe => ({
  name,
  needs: [{ file: launcherOf(checkout), comesFrom: "a checkout of wakeport" }],
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
${keys}`,
  },
  command: ({ configFile }) => [launcherOf(checkout), "run", "--config", configFile],
});

/** With the default relay, which is splice on Linux, and with the other one. */
const wakeports = [
  ...checkouts.map((checkout) => wakeport(checkout, checkout.name, "")),
  wakeport(own, "wakeport-node", "    relay: node\n"),
];

export const relays: readonly Relay[] = [direct, ...[haproxy, nginx, socat, socketProxyd, ...wakeports].map(toRelay)];

export function relayNamed(name: string): Relay {
  const relay = relays.find((candidate) => candidate.name === name);
  if (relay !== undefined) return relay;
  throw new Error(`Unknown relay "${name}", expected one of: ${relays.map((known) => known.name).join(", ")}`);
}

function toRelay(recipe: Recipe): Relay {
  return {
    name: recipe.name,
    startsUpstream: recipe.startsUpstream ?? false,
    descriptors: recipe.descriptors ?? 2,
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
