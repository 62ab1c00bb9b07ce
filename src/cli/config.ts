import type { Config } from "../config/config.ts";
import { loadConfig, NoConfigError } from "../config/load.ts";
import type { ParseContext } from "../config/parse.ts";
import { parseHostPort } from "../config/values/ports.ts";
import { UnitError } from "../config/values/units.ts";
import { ConfigError } from "../config/yaml/config-error.ts";
import { TargetError } from "../errors.ts";
import type { Context, Options } from "./command.ts";

/** Only this machine, unless somebody says otherwise. */
const ADMIN_LISTEN = "127.0.0.1:9464";

/** Loads the configuration that the options and the environment name. @throws ConfigError, NoConfigError */
export async function configOf(options: Options, context: Context): Promise<Config> {
  const named = options["config"] ?? (context.env["WAKEPORT_CONFIG"] || undefined);
  return loadConfig(typeof named === "string" ? named : undefined, parseContext(context));
}

/**
 * Where to ask a running wakeport; without any configuration, where it listens when nothing says otherwise. One that was
 * started before somebody made a mistake in the file is still asked.
 *
 * @throws ConfigError when the file cannot be read
 */
export async function adminOf(options: Options, context: Context): Promise<Pick<Config, "admin">> {
  try {
    return await configOf(options, context);
  } catch (error) {
    if (error instanceof ConfigError && error.admin !== undefined) {
      context.printError("wakeport: the configuration has a mistake by now; wakeport check tells which");
      return { admin: error.admin };
    }
    if (!(error instanceof NoConfigError)) throw error;
    return { admin: parseContext(context).adminListen };
  }
}

/** @throws TargetError "invalid" when WAKEPORT_ADMIN_LISTEN cannot be read */
export function parseContext({ env }: Context): ParseContext {
  const listen = env["WAKEPORT_ADMIN_LISTEN"] || ADMIN_LISTEN;
  try {
    return { env, adminListen: parseHostPort(listen) };
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    throw new TargetError("invalid", `WAKEPORT_ADMIN_LISTEN: ${error.message}`);
  }
}
