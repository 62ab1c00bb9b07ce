/** What a command gets from the process: its environment, account, limits and streams. Only main.ts also uses `process`. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import type { Context } from "./cli/command.ts";
import { printableLines } from "./net/escape.ts";
import { listenFds } from "./proxy/listen/inherited-sockets.ts";

const DEFAULT_OPEN_FILES = 1_024;
const DEFAULT_OWN_FILES = 32;
const CAP_SETGID = 1n << 6n;

/** What the process does at signals. */
export type Signals = Pick<Context, "shutdown" | "onReload" | "onStatusRequest">;

/** Returns what a command gets from the process. */
export function contextOf(signals: Signals): Context {
  const inheritedFds = listenFds(process.env, process.pid);
  // The sockets are for wakeport, not for the programs that it starts.
  for (const name of ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]) delete process.env[name];
  const env = { ...process.env };
  // dockerode reads these variables differently from the docker command. Only docker/host.ts reads them.
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
    ...signals,
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

/** Returns the current limit: Node raises the soft limit to the hard limit at its start. */
function openFiles(): number {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return found === null ? DEFAULT_OPEN_FILES : Number(found[1]);
  } catch {
    return DEFAULT_OPEN_FILES;
  }
}

/** Returns whether this process may change the groups of its children. Root needs CAP_SETGID, too. */
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

/** Returns the number of descriptors that are open at the start. */
function ownFiles(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return DEFAULT_OWN_FILES;
  }
}
