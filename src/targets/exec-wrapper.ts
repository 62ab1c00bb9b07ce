/**
 * Sets what spawners cannot set for a program: umask, limits, priority, groups and a listener (LISTEN_FDS). For each of
 * them a system program runs first and replaces itself with exec, so that the PID stays the same.
 */
import type { LimitName, ProgramLimit, ProgramLimits } from "../config/values/process-limits.ts";
import type { Executable } from "./spawner.ts";
import type { Account } from "./user-account.ts";

/** A local program with its settings. */
export interface Program {
  readonly command: readonly [string, ...string[]];
  /** Default: the path. */
  readonly argv0?: string;
  readonly cwd?: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Default: the account of wakeport. */
  readonly account?: Account;
  readonly umask?: number;
  /** Added to wakeport's own nice value. */
  readonly nice?: number;
  readonly limits?: ProgramLimits;
  /** Passes stdin as descriptor 3, with this name in LISTEN_FDNAMES. The program's own stdin is then empty. */
  readonly listenerName?: string;
  /** As of an Executable. */
  readonly sharesSession?: boolean;
}

export interface Spawnable extends Executable {
  /** Whether `file` is not the program itself. Then only an exit status shows that the program cannot run. */
  readonly isWrapped: boolean;
}

/** Flag of `ulimit` for each limit, and its unit in files, bytes or seconds. */
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
 * Returns what a spawner starts for a program.
 *
 * @param find returns the path of sh, bash, nice or setpriv; throws if the system does not have it
 * @param setsAccount whether the spawner can set a user and a group without groups
 */
export function spawnable(
  program: Program,
  find: (name: string, purpose: string) => string,
  setsAccount: boolean = true,
): Spawnable {
  const { command, argv0, cwd, account, listenerName, sharesSession } = program;
  const script = scriptOf(program);
  // Only root may raise a limit or a priority, so the account is set last. Spawners cannot set groups.
  const isLate =
    !setsAccount || program.nice !== undefined || program.limits !== undefined || (account?.groups.length ?? 0) > 0;
  const setpriv = isLate && account !== undefined ? setprivOf(account, find) : [];
  const nice = program.nice === undefined ? [] : [find("nice", '"nice"'), "-n", String(program.nice)];
  const chain = [...nice, ...setpriv];
  const env = listenerName === undefined ? program.env : listenEnv(program.env, listenerName);
  const ids = account !== undefined && !isLate && { uid: account.uid, gid: account.gid };
  const common = {
    env,
    ...(cwd !== undefined && { cwd }),
    ...(sharesSession !== undefined && { sharesSession }),
    ...ids,
  };
  if (script === "" && chain.length === 0) {
    const [file, ...args] = command;
    return { file, args, ...common, ...(argv0 !== undefined && { argv0 }), isWrapped: false };
  }
  const named =
    argv0 === undefined
      ? []
      : [find("bash", '"argv0" together with "umask", "nice", "rlimits" or groups'), "-c", RENAME, argv0];
  const sh = script === "" ? [] : [find("sh", "a umask, limits or a listener"), "-c", `${script}exec "$@"`, "sh"];
  const [file = "", ...args] = [...sh, ...chain, ...named, ...command];
  return { file, args, ...common, isWrapped: true };
}

/** Of the usual system programs only bash can set argv[0]. */
const RENAME = 'exec -a "$0" "$@"';

/** Returns the shell commands before the exec. The first command that fails ends the shell, with its message on stderr. */
function scriptOf({ umask, limits, listenerName }: Program): string {
  const steps: string[] = [];
  // A spawner makes a listener that it passes as stdin blocking, as programs expect it.
  if (listenerName !== undefined) steps.push("export LISTEN_PID=$$", "exec 3<&0 </dev/null");
  if (umask !== undefined) steps.push(`umask ${umask.toString(8).padStart(3, "0")}`);
  for (const [name, limit] of Object.entries(limits ?? {}) as [LimitName, ProgramLimit][]) {
    const { flag, unit } = ULIMIT[name];
    const count = (value: ProgramLimit["soft"]): string =>
      value === "unlimited" ? value : String(Math.ceil(value / unit));
    const [soft, hard] = [`ulimit -S -${flag} ${count(limit.soft)}`, `ulimit -H -${flag} ${count(limit.hard)}`];
    // The soft limit must never exceed the hard one: lower it first, raise it last.
    steps.push(`{ ${soft} 2>/dev/null || :; }`, hard, soft);
  }
  return steps.map((step) => `${step} || exit 125; `).join("");
}

function setprivOf({ uid, gid, groups }: Account, find: (name: string, purpose: string) => string): string[] {
  const supplementary = groups.length === 0 ? "--clear-groups" : `--groups=${groups.join(",")}`;
  const path = find("setpriv", '"groups", or a user together with "nice" or "rlimits",');
  return [path, `--reuid=${uid}`, `--regid=${gid}`, supplementary, "--"];
}

function listenEnv(env: Readonly<Record<string, string>>, name: string): Record<string, string> {
  return { ...env, LISTEN_FDS: "1", LISTEN_FDNAMES: name };
}
