import type { Target } from "../activation/target.ts";
import { TargetError, UnhealthyError } from "../errors.ts";
import { AnsweredError, type NamedProbe, retryUntilReady } from "./probe.ts";

/** Returns a probe of the container's own HEALTHCHECK. It fails at once for a container without one. */
export function healthyProbe(target: Target): NamedProbe {
  return {
    name: "healthy",
    check: (_upstream, signal) =>
      retryUntilReady(
        async (attemptSignal) => {
          const status = await target.inspect(attemptSignal);
          if (!status.up || status.health === "starting") throw new AnsweredError("health: starting");
          if (status.health === "unhealthy")
            throw new UnhealthyError(`${target.name} is unhealthy: HEALTHCHECK failed`);
          if (status.health === undefined) throw noHealthcheck(target);
        },
        signal,
        (error) => error instanceof UnhealthyError || (error instanceof TargetError && error.fault === "invalid"),
      ),
  };
}

function noHealthcheck(target: Target): TargetError {
  return new TargetError("invalid", `${target.name} has no HEALTHCHECK, so it is never healthy`, {
    remedy: 'add a healthcheck to its image or compose service, or use "ready: tcp"',
  });
}
