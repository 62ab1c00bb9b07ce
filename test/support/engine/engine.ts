import Dockerode from "dockerode";
import { within } from "../../../src/async/wait.ts";

const ANSWER_MS = 3_000;

/** The environment variables with which a wakeport under test uses the engine of the tests. */
export function engineEnv(): Readonly<Record<string, string>> {
  const { DOCKER_HOST } = process.env;
  return DOCKER_HOST === undefined ? {} : { DOCKER_HOST };
}

/** Returns undefined if no engine responds, otherwise its version. */
export async function engineVersion(): Promise<string | undefined> {
  try {
    const { Version } = await within(ANSWER_MS, "version", new Dockerode().version());
    return Version;
  } catch {
    return undefined;
  }
}
