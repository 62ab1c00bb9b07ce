/**
 * Differences between the Docker-compatible API of Podman (seen with 4.3.1) and Docker's. All are handled here.
 *
 * - Events have other names: see `dockerAction`. The event stream sends its HTTP header with the first event, which may
 *   take hours.
 * - An operation that does not fit the container's state fails with 500 instead of 409 or 304: see `isWrongState`. This
 *   includes starting a paused or stopping container, and stopping a paused one, which Docker does.
 * - A stopping container has the status "stopping" and is not running, although it may still serve: see `runs`.
 * - A container created through this API without a grace period, such as by Docker Compose, has a grace period of 0 and
 *   is killed at once by a stop without one. Fixed in 4.7 for new containers: see `graceOf`.
 * - `State.Restarting` is always false.
 */
import type http from "node:http";

/** Docker's names of events, by the different ones of Podman. A filter accepts both. */
const dockerNames = new Map([
  ["died", "die"],
  ["remove", "destroy"],
]);

/**
 * Whether an answer comes from Podman; undefined if it comes from a proxy. A proxy may replace the header `Server`, but
 * passes these.
 */
export function isPodmanAnswer(headers: http.IncomingHttpHeaders): boolean | undefined {
  if (headers["libpod-api-version"] !== undefined) return true;
  return headers["api-version"] === undefined ? undefined : false;
}

/** Returns the names of `actions` for both engines, which ignore unknown names. */
export function eventFilter(actions: readonly string[]): string[] {
  const others = [...dockerNames].filter(([, docker]) => actions.includes(docker)).map(([podman]) => podman);
  return [...actions, ...others];
}

/** Returns Docker's name of an event. */
export function dockerAction(action: string): string {
  return dockerNames.get(action) ?? action;
}

/** Whether an answer means that the operation does not fit the container's state. */
export function isWrongState(status: number | undefined, message: string): boolean {
  return status === 409 || (status === 500 && message.includes("container state improper"));
}

/** Whether a container's program runs, according to its `State`. */
export function runs({ Running, Status }: { readonly Running: boolean; readonly Status: string }): boolean {
  return Running || Status === "stopping";
}

/** Returns the grace period with which the container was created, in seconds, or undefined if it had none. */
export function graceOf(stopTimeout: unknown, isPodman: boolean): number | undefined {
  if (typeof stopTimeout !== "number" || (isPodman && stopTimeout === 0)) return undefined;
  return stopTimeout;
}
