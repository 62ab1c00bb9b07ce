import { within } from "../async/wait.ts";
import { publishedBy } from "../docker/published-ports.ts";
import { BindError } from "../errors.ts";
import type { EngineParts } from "./engine-parts.ts";

/** Deadline for the list of published ports. */
const PUBLISHERS_MS = 2_000;

/** Adds a line for each container that publishes a port in use, if the engine answers. */
export async function withPublishers(error: BindError, engine: EngineParts | undefined): Promise<BindError> {
  if (error.taken.length === 0 || engine === undefined) return error;
  const publishers = publishedBy(error.taken, engine, AbortSignal.timeout(PUBLISHERS_MS));
  const lines = await within(PUBLISHERS_MS, "the engine", publishers).catch(() => []);
  return new BindError([error.message, ...lines].join("\n"), { cause: error });
}
