/** Checks the programs and accounts of local services on this machine. */
import { accessSync, constants, statSync } from "node:fs";
import path from "node:path";
import { type Config, startsPrograms } from "../../config/config.ts";
import { forkWarning, loadPosixSpawn } from "../../targets/spawners.ts";
import { accountOf } from "../../targets/user-account.ts";

/**
 * Returns a warning for each program that is missing. The machine on which wakeport will run may have it.
 *
 * @param env contains PATH, for programs without a folder
 */
export function missingPrograms(
  { services }: Pick<Config, "services">,
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  return services.flatMap(({ name, enabled, target }) => {
    if (!enabled || (target.kind !== "process" && target.kind !== "inetd")) return [];
    const [program = ""] = target.command;
    const folders = program.includes("/")
      ? [target.cwd ?? "."]
      : (target.env["PATH"] ?? env["PATH"] ?? "").split(":").filter(Boolean);
    const isFound = folders.some((folder) => isProgram(path.resolve(folder, program)));
    return isFound ? [] : [`service "${name}": "${program}" is not an executable program on this machine`];
  });
}

/**
 * Returns a warning for each service whose user or group this process cannot change to.
 *
 * @param own the account of this process
 */
export function forbiddenAccounts(
  { services }: Pick<Config, "services">,
  own: { readonly uid: number; readonly gid: number },
): string[] {
  if (own.uid === 0) return [];
  return services.flatMap(({ name, enabled, target }) => {
    if (!enabled || (target.kind !== "process" && target.kind !== "inetd")) return [];
    const account = accountOf(target, own);
    if (account === undefined || (account.uid === own.uid && account.gid === own.gid)) return [];
    const subject = target.user === undefined ? `group "${target.group}"` : `user "${target.user}"`;
    return [`service "${name}": only root can start a program as ${subject}; this is uid ${own.uid}`];
  });
}

/** Returns a warning if programs will be started with fork on this machine. */
export function forkedPrograms({ services }: Pick<Config, "services">): string[] {
  const problem = services.some(startsPrograms) ? loadPosixSpawn() : undefined;
  return problem === undefined ? [] : [forkWarning(problem)];
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
