import Dockerode from "dockerode";
import { within } from "../../src/async.ts";

const ANSWER_MS = 3_000;

/** The version of the engine that tests may use; undefined when none answers. */
export async function engineVersion(): Promise<string | undefined> {
  try {
    const { Version } = await within(ANSWER_MS, "version", new Dockerode().version());
    return Version;
  } catch {
    return undefined;
  }
}
