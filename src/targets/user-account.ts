import { readFileSync } from "node:fs";
import { TargetError } from "../errors.ts";

/** A user and group that a process runs as; both are always set together. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly home?: string;
}

/** The account of wakeport's own process. */
export interface OwnAccount {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups?: readonly number[];
  /** Whether it may set the groups of its children (CAP_SETGID); default: no. */
  readonly maySetGroups?: boolean;
}

/** Supplementary groups: none, the groups of the user ("init"), or a list. */
export type Groups = "none" | "init" | readonly (string | number)[];

/** Fields of a line of /etc/passwd or /etc/group. */
type Entry = readonly string[];

/**
 * Looks up the user and group of a process, by name or number, in /etc/passwd and /etc/group. The process gets none of
 * wakeport's supplementary groups, such as that of the engine's socket, if wakeport may change them.
 *
 * @param own wakeport's own account, whose user stays if only a group is given
 * @returns undefined if nothing is given and wakeport has no groups to drop, or may not drop them
 * @throws TargetError "invalid" for a name that the system does not know
 */
export function accountOf(
  {
    user,
    group,
    groups,
  }: { readonly user?: string | number; readonly group?: string | number; readonly groups?: Groups },
  own: OwnAccount,
): Account | undefined {
  if (user === undefined && group === undefined && groups === undefined) return withoutGroups(own);
  const passwd = user === undefined ? undefined : find("/etc/passwd", user);
  const uid = user === undefined ? own.uid : numberOf(user, passwd, "user");
  const home = passwd?.[5];
  const gid =
    group === undefined ? primaryGroup(user, passwd, own) : numberOf(group, find("/etc/group", group), "group");
  return { uid, gid, groups: supplementaryGroups(groups, uid, gid), ...(home !== undefined && { home }) };
}

function withoutGroups({ uid, gid, groups = [], maySetGroups }: OwnAccount): Account | undefined {
  const hasOthers = groups.some((group) => group !== gid);
  return hasOthers && maySetGroups === true ? { uid, gid, groups: [] } : undefined;
}

function supplementaryGroups(groups: Groups = "none", uid: number, gid: number): readonly number[] {
  if (groups === "none") return [];
  if (groups !== "init") return groups.map((group) => numberOf(group, find("/etc/group", group), "group"));
  const name = find("/etc/passwd", uid)?.[0];
  const memberships = entriesOf("/etc/group").filter(([, , , members = ""]) => members.split(",").includes(name ?? ""));
  return [...new Set([gid, ...memberships.map(([, , number]) => Number(number))])];
}

/** A number without an entry is its own group: the usual case in a container. */
function primaryGroup(
  user: string | number | undefined,
  passwd: Entry | undefined,
  own: { readonly gid: number },
): number {
  if (user === undefined) return own.gid;
  return passwd?.[3] === undefined ? Number(user) : Number(passwd[3]);
}

function find(file: "/etc/passwd" | "/etc/group", wanted: string | number): Entry | undefined {
  const column = isNumber(wanted) ? 2 : 0;
  return entriesOf(file).find((entry) => entry[column] === String(wanted));
}

function entriesOf(file: "/etc/passwd" | "/etc/group"): Entry[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.split(":"));
}

function numberOf(wanted: string | number, entry: Entry | undefined, kind: "user" | "group"): number {
  if (isNumber(wanted)) return Number(wanted);
  if (entry?.[2] !== undefined) return Number(entry[2]);
  throw new TargetError("invalid", `there is no ${kind} "${wanted}" on this system`, {
    remedy: `correct "${kind}", or give its number`,
  });
}

function isNumber(value: string | number): boolean {
  return /^\d+$/.test(String(value));
}
