/**
 * What a program shall have that node's spawn cannot give it: a umask, limits, a priority, groups, a listener as the
 * protocol LISTEN_FDS wants it. Each is given by a small program that replaces itself by the next, so that the pid
 * stays and nothing is left in between. What is not asked for costs nothing.
 */
import type { LimitName, ProgramLimit, ProgramLimits } from "../config/values/process-limits.ts";
import type { Account } from "./accounts.ts";

/** A local program and all that it is given. */
export interface Program {
  readonly command: readonly [string, ...string[]];
  /** How it is told that it is called; absent: by its path. */
  readonly argv0?: string;
  readonly cwd?: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Absent: our own. */
  readonly account?: Account;
  readonly umask?: number;
  /** Added to our own priority: the higher, the less it gets. */
  readonly nice?: number;
  readonly limits?: ProgramLimits;
  /** Its stdin becomes descriptor 3, a listener of that name in LISTEN_FDNAMES, and its stdin is empty. */
  readonly listenerName?: string;
}

/** What is really spawned. */
export interface Spawnable {
  readonly file: string;
  readonly args: readonly string[];
  readonly argv0?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** Whether the program itself comes later: what is wrong with it is then told by an exit status. */
  readonly isShim: boolean;
}

/** How `ulimit` calls each limit, and in how many files, bytes or seconds it counts. */
const ULIMIT: { readonly [Name in LimitName]: { readonly flag: string; readonly unit: number } } = {
  nofile: { flag: "n", unit: 1 },
  as: { flag: "v", unit: 1_024 },
  cpu: { flag: "t", unit: 1 },
  data: { flag: "d", unit: 1_024 },
  stack: { flag: "s", unit: 1_024 },
  rss: { flag: "m", unit: 1_024 },
  core: { flag: "c", unit: 512 },
};

/**
 * Says how to spawn a program so that it has all that it shall have.
 *
 * @param find the path of one of the small programs: sh, bash, nice, setpriv. Throws where the system has none
 */
export function spawnable(program: Program, find: (name: string, purpose: string) => string): Spawnable {
  const { command, argv0, account, listenerName } = program;
  const script = scriptOf(program);
  // Only root may raise a limit or a priority, so that the account comes last then; and spawn itself knows no groups.
  const isLate = program.nice !== undefined || program.limits !== undefined || (account?.groups.length ?? 0) > 0;
  const setpriv = isLate && account !== undefined ? setprivOf(account, find) : [];
  const nice = program.nice === undefined ? [] : [find("nice", '"nice"'), "-n", String(program.nice)];
  const chain = [...nice, ...setpriv];
  const env = listenerName === undefined ? program.env : listenEnv(program.env, listenerName);
  const ids = account !== undefined && !isLate && { uid: account.uid, gid: account.gid };
  if (script === "" && chain.length === 0) {
    const [file, ...args] = command;
    return { file, args, env, ...(argv0 !== undefined && { argv0 }), ...ids, isShim: false };
  }
  const named = argv0 === undefined ? [] : [find("bash", '"argv0" beside other such keys'), "-c", RENAME, argv0];
  const sh = script === "" ? [] : [find("sh", "a umask, limits or a listener"), "-c", `${script}exec "$@"`, "sh"];
  const [file = "", ...args] = [...sh, ...chain, ...named, ...command];
  return { file, args, env, ...ids, isShim: true };
}

/** No other program of a usual system can call another one by a name that is not its own. */
const RENAME = 'exec -a "$0" "$@"';

/** What a shell does before it becomes the next in the chain; the first thing that fails ends it, and is told. */
function scriptOf({ umask, limits, listenerName }: Program): string {
  const steps: string[] = [];
  // Taken for descriptor 0 first, a listener is made blocking on the way, as whoever receives it expects.
  if (listenerName !== undefined) steps.push("export LISTEN_PID=$$", "exec 3<&0 </dev/null");
  if (umask !== undefined) steps.push(`umask ${umask.toString(8).padStart(3, "0")}`);
  for (const [name, limit] of Object.entries(limits ?? {}) as [LimitName, ProgramLimit][]) {
    const { flag, unit } = ULIMIT[name];
    const count = (value: ProgramLimit["soft"]): string =>
      value === "unlimited" ? value : String(Math.ceil(value / unit));
    const [soft, hard] = [`ulimit -S -${flag} ${count(limit.soft)}`, `ulimit -H -${flag} ${count(limit.hard)}`];
    // The soft limit must not be above the hard one at any moment: down it goes first, up it cannot until the hard one is.
    steps.push(`{ ${soft} 2>/dev/null || :; }`, hard, soft);
  }
  return steps.map((step) => `${step} || exit 125; `).join("");
}

function setprivOf({ uid, gid, groups }: Account, find: (name: string, purpose: string) => string): string[] {
  const supplementary = groups.length === 0 ? "--clear-groups" : `--groups=${groups.join(",")}`;
  const path = find("setpriv", '"groups", and for a user beside "nice" or "rlimits"');
  return [path, `--reuid=${uid}`, `--regid=${gid}`, supplementary, "--"];
}

function listenEnv(env: Readonly<Record<string, string>>, name: string): Record<string, string> {
  return { ...env, LISTEN_FDS: "1", LISTEN_FDNAMES: name };
}
