/** What the person who runs wakeport should know of a container, each with what to do about it. */
import type { ContainerFacts } from "../engine/container-facts.ts";

/** Of a container that does not stay asleep; undefined for one that does. */
export function restartWarning({ name, restartPolicy }: ContainerFacts): string | undefined {
  if (restartPolicy !== "always") return undefined;
  return (
    `container ${name} has "restart: always": it comes back by itself when the Docker daemon restarts, asleep or not; ` +
    'set restart: "no" (or unless-stopped) and create it again'
  );
}

/** Of a container that had to be killed. @param graceMs how long that was waited for */
export function stopWarning({ name }: ContainerFacts, graceMs: number): string {
  return (
    `container ${name} did not end within ${graceMs / 1000} s of its stop signal and was killed, as at each sleep; ` +
    'set "init: true" in compose, a stop_signal that its program obeys, or a shorter stop_grace'
  );
}
