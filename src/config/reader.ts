/** The child process that reads the configuration for `readConfig()`. */
import { readFileSync, writeFileSync } from "node:fs";
import { deserialize, serialize } from "node:v8";
import type { Config } from "./config.ts";
import { NoConfigError } from "./default-paths.ts";
import type { ReadAnswer, ReadRequest } from "./read-config.ts";
import { shareSettings } from "./share-settings.ts";
import { ConfigError } from "./yaml/config-error.ts";

const [STDIN, STDOUT] = [0, 1];

async function read({ file, context }: ReadRequest): Promise<Config> {
  const { loadConfig } = await import("./load.ts");
  return shareSettings(await loadConfig(file, context));
}

/** @throws other errors, which are defects: then the parent process reads the file itself and reports them */
function answerOf(error: unknown): ReadAnswer {
  if (error instanceof NoConfigError) return { missing: error.message };
  if (!(error instanceof ConfigError)) throw error;
  const { message, problems, admin } = error;
  return { invalid: { message, problems, ...(admin && { admin }) } };
}

void read(deserialize(readFileSync(STDIN)))
  .then((config): ReadAnswer => ({ config }), answerOf)
  .then((answer) => writeFileSync(STDOUT, serialize(answer)));
