import { readFile } from "node:fs/promises";
import { codeOf, messageOf } from "../errors.ts";
import type { Config } from "./config.ts";
import { type ParseContext, parseConfig } from "./parse.ts";
import { ConfigError } from "./yaml/config-error.ts";

/** Where a configuration is looked for, in this order, when no file is named. */
export const defaultPaths: readonly string[] = ["./wakeport.yaml", "/etc/wakeport/wakeport.yaml"];

/** There is no configuration in any of the usual places. */
export class NoConfigError extends Error {
  override readonly name = "NoConfigError";
}

/**
 * Loads `named`, or else the first file that exists of `defaultPaths`.
 *
 * @throws NoConfigError when none exists, ConfigError when the file cannot be read or used
 */
export async function loadConfig(named: string | undefined, context: ParseContext): Promise<Config> {
  if (named !== undefined) return parseConfig(await read(named), named, context);
  for (const path of defaultPaths) {
    const bytes = await read(path).catch((error: unknown) => {
      if (error instanceof ConfigError && codeOf(error.cause) === "ENOENT") return undefined;
      throw error;
    });
    if (bytes !== undefined) return parseConfig(bytes, path, context);
  }
  throw new NoConfigError(`no configuration in ${defaultPaths.join(" or ")}`);
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new ConfigError(path, "", [{ message: reasonOf(cause) }], { cause });
  }
}

function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "there is no such file";
    case "EISDIR":
      return "that is a directory: name the file in it";
    case "EACCES":
      return "no permission to read it";
    default:
      return messageOf(error);
  }
}
