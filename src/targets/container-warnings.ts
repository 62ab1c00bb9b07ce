/** Warnings about the settings of containers, each with its remedy. */
import type { ContainerFacts } from "../docker/container-facts.ts";

/** When the Docker daemon starts a container that wakeport has stopped, for each restart policy. */
const STARTED_BY_DAEMON: Readonly<Record<string, string>> = {
  always: "when the daemon restarts",
  "on-failure": "when the daemon restarts, if its stop ended with an exit code other than 0",
};

/** Returns a warning if the Docker daemon may start the container while it is asleep, else undefined. */
export function restartWarning({
  name,
  restartPolicy,
}: Pick<ContainerFacts, "name" | "restartPolicy">): string | undefined {
  const when = STARTED_BY_DAEMON[restartPolicy];
  if (when === undefined) return undefined;
  return (
    `container ${name} has "restart: ${restartPolicy}": Docker starts it although it is asleep ${when}; ` +
    'set restart: "no" (unless-stopped works too) and recreate it'
  );
}

/** Warns of a container that ignores its stop signal. @param graceMs from the stop signal to SIGKILL */
export function stopWarning({ name }: ContainerFacts, graceMs: number): string {
  return (
    `container ${name} did not end within ${graceMs / 1000} s of its stop signal and was killed, which delays each sleep; ` +
    'set "init: true" in compose, a stop_signal that its program obeys, or a shorter stop_grace'
  );
}

/** Warns of `ready: healthy` for a container without a health check; undefined if it has one. */
export function healthcheckWarning({ name, hasHealthcheck }: ContainerFacts): string | undefined {
  if (hasHealthcheck) return undefined;
  return (
    `container ${name} has no HEALTHCHECK, so "ready: healthy" fails each start; ` +
    'give its image or compose service a healthcheck, or use "ready: tcp"'
  );
}

/** Warns of published ports, which bypass wakeport. @param ports ports of the target to which wakeport connects */
export function bindingWarnings(
  { name, bindings }: ContainerFacts,
  ports: readonly { readonly target: number; readonly protocol?: "udp" }[],
): string[] {
  const bypassing = bindings.filter(({ target, protocol }) =>
    ports.some((port) => port.target === target && (port.protocol ?? "tcp") === protocol),
  );
  return bypassing.map(
    ({ target, published }) =>
      `container ${name} publishes port ${target} itself${published === 0 ? "" : `, as ${published}`}: clients of that port ` +
      "bypass wakeport and do not wake it; remove it from ports: in the compose file and recreate the container",
  );
}
