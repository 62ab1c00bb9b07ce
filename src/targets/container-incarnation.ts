import type { ContainerFacts } from "../docker/container-facts.ts";

/** Exit code of a container that ended by SIGKILL (128 + 9): by a kill, or because memory ran out. */
export const KILLED = 137;

/** Identifies one run of a container. A restart by its restart policy changes it. */
export function incarnationOf({ id, startedAt }: ContainerFacts): string {
  return `${id} ${startedAt}`;
}
