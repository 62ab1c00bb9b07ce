/**
 * Whether programs that wakeport starts can use the engine's socket, which makes them root on the host. They can if
 * wakeport uses it by a user or group of its own and has no right to start them with others.
 */
import { accessSync, constants, readFileSync, type Stats, statSync } from "node:fs";
import type { Config } from "../config/config.ts";
import { parseEngineHost } from "../engine/host.ts";
import { TargetError } from "../errors.ts";
import type { Context } from "./command.ts";

type Own = Pick<Context, "env" | "uid" | "gid" | "groups" | "maySetGroups">;

const OWNER_WRITES = 0o200;
const GROUP_WRITES = 0o020;

/** @returns what is exposed and the remedy, in one sentence; undefined where nothing is */
export function exposedSocket({ services, docker }: Pick<Config, "services" | "docker">, own: Own): string | undefined {
  if (own.maySetGroups) return undefined;
  const programs = services.filter(({ enabled, target }) => enabled && ["process", "inetd"].includes(target.kind));
  const socket = programs.length === 0 ? undefined : socketOf(docker.host, own.env);
  const way = socket && wayTo(socket.stats, own);
  if (socket === undefined || way === undefined) return undefined;
  const names = programs.map(({ name }) => `"${name}"`).join(", ");
  const which = programs.length === 1 ? "the program of service" : "the programs of services";
  return (
    `${which} ${names} can use ${socket.path} and so control this machine: wakeport has no right to start programs ` +
    `without its own ${way}. Connect wakeport to the engine through a socket proxy ("docker.host"), or serve these ` +
    "programs by another wakeport that has no socket"
  );
}

/** By what a process of ours may write to it. */
function wayTo({ uid, gid, mode }: Stats, own: Own): string | undefined {
  if (own.uid === uid) return (mode & OWNER_WRITES) === 0 ? undefined : `user ${uid}${nameOf(uid, "/etc/passwd")}`;
  const isMember = own.gid === gid || own.groups.includes(gid);
  return isMember && (mode & GROUP_WRITES) !== 0 ? `group ${gid}${nameOf(gid, "/etc/group")}` : undefined;
}

function socketOf(host: string | undefined, env: Own["env"]): { path: string; stats: Stats } | undefined {
  try {
    const { socketPath } = parseEngineHost(host, env);
    if (socketPath === undefined) return undefined;
    accessSync(socketPath, constants.W_OK);
    return { path: socketPath, stats: statSync(socketPath) };
  } catch (error) {
    // An address that cannot be used is reported where the engine is needed; a socket that is not there exposes nothing.
    if (error instanceof TargetError || (error instanceof Error && "code" in error)) return undefined;
    throw error;
  }
}

/** ` (docker)`, where this system has a name for it. */
function nameOf(id: number, file: "/etc/passwd" | "/etc/group"): string {
  try {
    const entries = readFileSync(file, "utf8").split("\n");
    const [name] = entries.map((line) => line.split(":")).find(([, , number]) => number === String(id)) ?? [];
    return name === undefined ? "" : ` (${name})`;
  } catch {
    return "";
  }
}
