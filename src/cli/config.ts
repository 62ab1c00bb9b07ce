import type { Config } from "../config/config.ts";
import { NoConfigError } from "../config/default-paths.ts";
import type { ParseContext } from "../config/parse.ts";
import { readConfig } from "../config/read-config.ts";
import { parseHostPort } from "../config/values/ports.ts";
import { UnitError } from "../config/values/units.ts";
import { ConfigError } from "../config/yaml/config-error.ts";
import { TargetError } from "../errors.ts";
import type { Context, Options } from "./command.ts";

/** The default accepts only clients on this machine. */
const ADMIN_LISTEN = "127.0.0.1:9464";

/**
 * Loads the configuration of the options or the environment.
 *
 * @param onFallback called with the reason if no child process can read it
 * @throws ConfigError, NoConfigError
 */
export async function configOf(
  options: Options,
  context: Context,
  onFallback?: (reason: string) => void,
): Promise<Config> {
  const named = options["config"] ?? (context.env["WAKEPORT_CONFIG"] || undefined);
  const file = typeof named === "string" ? named : undefined;
  return readConfig(file, parseContext(context), { execPath: context.execPath, end: context.shutdown, onFallback });
}

/**
 * Returns the address of a running wakeport's admin server, or the default without a configuration. The address is also
 * read from an invalid file, because wakeport may have started before the file was changed.
 *
 * @throws ConfigError if the file cannot be read
 */
export async function adminOf(options: Options, context: Context): Promise<Pick<Config, "admin">> {
  try {
    return await configOf(options, context);
  } catch (error) {
    if (error instanceof ConfigError && error.admin !== undefined) {
      context.printError("wakeport: the configuration file is invalid now (see wakeport check)");
      return { admin: error.admin };
    }
    if (!(error instanceof NoConfigError)) throw error;
    return { admin: parseContext(context).adminListen };
  }
}

/** @throws TargetError "invalid" if WAKEPORT_ADMIN_LISTEN is not a valid address */
export function parseContext({ env }: Context): ParseContext {
  const listen = env["WAKEPORT_ADMIN_LISTEN"] || ADMIN_LISTEN;
  try {
    return { env, adminListen: parseHostPort(listen) };
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    throw new TargetError("invalid", `WAKEPORT_ADMIN_LISTEN: ${error.message}`);
  }
}
