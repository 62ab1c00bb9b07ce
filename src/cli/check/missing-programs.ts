/** Whether this machine has the programs that a configuration names. */
import { accessSync, constants, statSync } from "node:fs";
import path from "node:path";
import type { Config } from "../../config/config.ts";
import { accountOf } from "../../targets/accounts.ts";

/**
 * The programs of local services that cannot be run here, a sentence each. They may be there where wakeport will run.
 *
 * @param env where PATH is, for programs without a folder
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
    const isThere = folders.some((folder) => isProgram(path.resolve(folder, program)));
    return isThere ? [] : [`service "${name}": this machine has no program "${program}" that can be run`];
  });
}

/**
 * Returns a sentence for each service whose user or group this process cannot change to.
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
    const wanted = target.user === undefined ? `group "${target.group}"` : `user "${target.user}"`;
    return [`service "${name}": only root can start a program as ${wanted}, and this is uid ${own.uid}`];
  });
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
