/** The edge to the process: arguments, environment, signals, exit codes. The only file that touches `process`. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";
import { runCommand } from "./cli/cli.ts";
import type { Context } from "./cli/command.ts";
import { printableLines } from "./net/escape.ts";
import { listenFds } from "./proxy/listen/inherited-sockets.ts";

const UNKNOWN_OPEN_FILES = 1_024;
const USUAL_OWN_FILES = 32;
const CAP_SETGID = 1n << 6n;

function context(): Context {
  const shutdown = new AbortController();
  const end = (): void => {
    // Somebody who asks twice does not want to wait.
    if (shutdown.signal.aborted) process.exit(1);
    shutdown.abort();
  };
  for (const name of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) process.on(name, end);
  const reloads = new Set<() => void>();
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on("SIGHUP", () => {
    // Sent by the kernel when the terminal was closed; by somebody else it means: read the configuration anew.
    const isHungUp = terminals.some((fd) => !isatty(fd));
    if (isHungUp || reloads.size === 0) end();
    else for (const act of reloads) act();
  });
  // The default action of SIGUSR2 ends the process, and only `run` replaces it.
  process.on("SIGUSR2", () => {});
  const inheritedFds = listenFds(process.env, process.pid);
  // They are for us, and for nobody that we start.
  for (const name of ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]) delete process.env[name];
  const env = { ...process.env };
  // dockerode reads these by itself, and otherwise than the docker command does: docker/host.ts is to do it alone.
  for (const name of Object.keys(process.env)) if (name.startsWith("DOCKER_")) delete process.env[name];
  return {
    env,
    version: version(),
    revision: env["WAKEPORT_REVISION"] ?? "unknown",
    nodeVersion: process.version,
    execPath: process.execPath,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    groups: process.getgroups?.() ?? [],
    maySetGroups: maySetGroups(),
    umask: process.umask(),
    pid: process.pid,
    openFiles: openFiles(),
    ownFiles: ownFiles(),
    inheritedFds,
    isTerminal: process.stdout.isTTY,
    shutdown: shutdown.signal,
    onReload: (act) => reloads.add(act),
    onStatusRequest: (act) => process.on("SIGUSR2", act),
    print: (text) => process.stdout.write(`${printableLines(text)}\n`),
    printData: (text) => process.stdout.write(`${text}\n`),
    printError: (text) => process.stderr.write(`${printableLines(text)}\n`),
    atExit: (act) => process.on("exit", act),
  };
}

function version(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const parsed: unknown = JSON.parse(text);
  const found = typeof parsed === "object" && parsed !== null && "version" in parsed ? parsed.version : undefined;
  return typeof found === "string" ? found : "unknown";
}

/** The limit in force: Node raises the soft limit to the hard one when it starts. */
function openFiles(): number {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return found === null ? UNKNOWN_OPEN_FILES : Number(found[1]);
  } catch {
    return UNKNOWN_OPEN_FILES;
  }
}

/** Whether this process may change the groups of its children. Root needs CAP_SETGID, too. */
function maySetGroups(): boolean {
  try {
    const [, capabilities = "0"] = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return (
      (BigInt(`0x${capabilities}`) & CAP_SETGID) !== 0n &&
      !readFileSync("/proc/self/setgroups", "utf8").startsWith("deny")
    );
  } catch {
    return process.getuid?.() === 0;
  }
}

/** Descriptors in use before anything was opened on purpose. */
function ownFiles(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return USUAL_OWN_FILES;
  }
}

// What nobody caught is a bug: the state is not to be trusted any more. Whoever runs us starts us again.
process.on("uncaughtException", (error) => {
  process.stderr.write(`wakeport: internal error, please report it: ${error.stack ?? error.message}\n`);
  process.exit(1);
});

// A reader that is gone (wakeport check | head) is no reason to fail.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

process.exit(await runCommand(process.argv.slice(2), context()));
