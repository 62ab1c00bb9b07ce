/**
 * What Podman answers differently from Docker at the same paths, as seen with 4.3.1: every difference that matters to
 * wakeport is told here, and everything else speaks of one engine.
 *
 * - Events have other names: see `dockerAction`. Their stream has no HTTP header before its first event, so that there
 *   may be no answer for hours.
 * - What does not fit a container's state is a 500, not a 409 (or a 304): starting one that is paused or on its way
 *   down, stopping one that is paused, which Docker does. See `isWrongState`.
 * - A container on its way down is "stopping" and not running, although it may still serve. See `runs`.
 * - A container that was created through this API (by Docker Compose, for one) without a grace has one of 0, and is
 *   killed at once unless the stop says otherwise: fixed in 4.7, for containers that are created then. See `graceOf`.
 * - `State.Restarting` is always false.
 */
import type http from "node:http";

/** Podman's name of an event, where Docker has another one; both are accepted where events are asked for. */
const dockerNames = new Map([
  ["died", "die"],
  ["remove", "destroy"],
]);

/**
 * Whether an answer is Podman's; undefined when it is no engine's, but that of a proxy in between. A proxy may replace
 * the header `Server`, and leaves these.
 */
export function isPodmanAnswer(headers: http.IncomingHttpHeaders): boolean | undefined {
  if (headers["libpod-api-version"] !== undefined) return true;
  return headers["api-version"] === undefined ? undefined : false;
}

/** Both engines' names of what Docker calls `actions`. A name that an engine does not know does no harm. */
export function eventFilter(actions: readonly string[]): string[] {
  const others = [...dockerNames].filter(([, docker]) => actions.includes(docker)).map(([podman]) => podman);
  return [...actions, ...others];
}

/** Docker's name of an event. */
export function dockerAction(action: string): string {
  return dockerNames.get(action) ?? action;
}

/** Whether an answer says that the container is in a state in which this cannot be done. */
export function isWrongState(status: number | undefined, message: string): boolean {
  return status === 409 || (status === 500 && message.includes("container state improper"));
}

/** Whether a container's program runs, from its `State`. */
export function runs({ Running, Status }: { readonly Running: boolean; readonly Status: string }): boolean {
  return Running || Status === "stopping";
}

/** The grace that was asked for when the container was created, in seconds; undefined when none was. */
export function graceOf(stopTimeout: unknown, isPodman: boolean): number | undefined {
  if (typeof stopTimeout !== "number" || (isPodman && stopTimeout === 0)) return undefined;
  return stopTimeout;
}
