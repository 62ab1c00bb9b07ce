/** Differences between the API of Podman and that of Docker, all handled in this file: see docs/design/podman.md. */
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
