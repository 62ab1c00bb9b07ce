import Dockerode from "dockerode";
import { within } from "../../../src/async/wait.ts";

const ANSWER_MS = 3_000;

/** What a wakeport under test must know of the environment to use the engine that the tests use. */
export function engineEnv(): Readonly<Record<string, string>> {
  const { DOCKER_HOST } = process.env;
  return DOCKER_HOST === undefined ? {} : { DOCKER_HOST };
}

/** The version of the engine that tests may use; undefined when none answers. */
export async function engineVersion(): Promise<string | undefined> {
  try {
    const { Version } = await within(ANSWER_MS, "version", new Dockerode().version());
    return Version;
  } catch {
    return undefined;
  }
}
