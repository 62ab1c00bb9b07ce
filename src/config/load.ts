import { readFile } from "node:fs/promises";
import { codeOf, messageOf } from "../errors.ts";
import type { Config } from "./config.ts";
import { defaultPaths, NoConfigError } from "./default-paths.ts";
import { type ParseContext, parseConfig } from "./parse.ts";
import { ConfigError } from "./yaml/config-error.ts";
import { configError } from "./yaml/format-problems.ts";

/**
 * Loads the given file, or the first of `defaultPaths` that exists.
 *
 * @throws NoConfigError if none exists, ConfigError if the file is unreadable or invalid
 */
export async function loadConfig(path: string | undefined, context: ParseContext): Promise<Config> {
  if (path !== undefined) return parseConfig(await read(path), path, context);
  for (const candidate of defaultPaths) {
    const bytes = await read(candidate).catch((error: unknown) => {
      if (error instanceof ConfigError && codeOf(error.cause) === "ENOENT") return undefined;
      throw error;
    });
    if (bytes !== undefined) return parseConfig(bytes, candidate, context);
  }
  throw new NoConfigError(`no configuration in ${defaultPaths.join(" or ")}`);
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw configError(path, "", [{ message: reasonOf(cause) }], { cause });
  }
}

function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "the file does not exist";
    case "EISDIR":
      return "the path is a directory: use the file in it";
    case "EACCES":
      return "no permission to read the file";
    default:
      return messageOf(error);
  }
}
