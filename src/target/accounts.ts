import { readFileSync } from "node:fs";
import { TargetError } from "../errors.ts";

/** A user and group that a process runs as; both are always set together. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly home?: string;
}

/** Fields of a line of /etc/passwd or /etc/group. */
type Entry = readonly string[];

/**
 * Looks up who a process shall run as, by name or number, in /etc/passwd and /etc/group.
 *
 * @param own who wakeport itself runs as: where only a group is given, the user stays
 * @returns undefined when neither is given
 * @throws TargetError "invalid" for a name that the system does not know
 */
export function accountOf(
  { user, group }: { readonly user?: string | number; readonly group?: string | number },
  own: { readonly uid: number; readonly gid: number },
): Account | undefined {
  if (user === undefined && group === undefined) return undefined;
  const passwd = user === undefined ? undefined : find("/etc/passwd", user);
  const uid = user === undefined ? own.uid : numberOf(user, passwd, "user");
  const home = passwd?.[5];
  const gid = group === undefined ? primaryGroup(uid, passwd) : numberOf(group, find("/etc/group", group), "group");
  return { uid, gid, ...(home !== undefined && { home }) };
}

/** A number without an entry is its own group: the usual case in a container. */
function primaryGroup(uid: number, passwd: Entry | undefined): number {
  return passwd?.[3] === undefined ? uid : Number(passwd[3]);
}

function find(file: "/etc/passwd" | "/etc/group", wanted: string | number): Entry | undefined {
  const column = isNumber(wanted) ? 2 : 0;
  const entries = readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  return entries.find((entry) => entry[column] === String(wanted));
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
