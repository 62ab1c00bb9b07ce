/**
 * Warns if programs that wakeport starts can use the engine's socket, which is equivalent to root on the host. They can
 * if wakeport has access by its own user or group and may not start programs with other ones.
 */
import { accessSync, constants, readFileSync, type Stats, statSync } from "node:fs";
import type { Config } from "../../config/config.ts";
import { parseEngineHost } from "../../docker/host.ts";
import { TargetError } from "../../errors.ts";
import type { Context } from "../command.ts";

type Own = Pick<Context, "env" | "uid" | "gid" | "groups" | "maySetGroups">;

const OWNER_WRITES = 0o200;
const GROUP_WRITES = 0o020;

/** Returns a warning with its remedy, or undefined if the socket is not exposed. */
export function exposedSocket({ services, docker }: Pick<Config, "services" | "docker">, own: Own): string | undefined {
  if (own.maySetGroups) return undefined;
  const programs = services.filter(({ enabled, target }) => enabled && ["process", "inetd"].includes(target.kind));
  const socket = programs.length === 0 ? undefined : socketOf(docker.host, own.env);
  const grant = socket && grantOf(socket.stats, own);
  if (socket === undefined || grant === undefined) return undefined;
  const names = programs.map(({ name }) => `"${name}"`).join(", ");
  const subject = programs.length === 1 ? "the program of service" : "the programs of services";
  return (
    `${subject} ${names} can use ${socket.path} and so control this machine: wakeport may not start programs ` +
    `without its own ${grant}. Connect wakeport to the engine through a socket proxy ("docker.host"), or serve these ` +
    "programs with another wakeport that has no access to the socket"
  );
}

/** The user or group that gives this process write access. */
function grantOf({ uid, gid, mode }: Stats, own: Own): string | undefined {
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
    // An invalid address is reported where the engine is used. A missing socket exposes nothing.
    if (error instanceof TargetError || (error instanceof Error && "code" in error)) return undefined;
    throw error;
  }
}

/** ` (docker)`, or empty if the group has no name. */
function nameOf(id: number, file: "/etc/passwd" | "/etc/group"): string {
  try {
    const entries = readFileSync(file, "utf8").split("\n");
    const [name] = entries.map((line) => line.split(":")).find(([, , number]) => number === String(id)) ?? [];
    return name === undefined ? "" : ` (${name})`;
  } catch {
    return "";
  }
}
