import type { Target } from "../activation/target.ts";
import { TargetError, UnhealthyError } from "../errors.ts";
import { AnsweredError, type NamedProbe, until } from "./probe.ts";

/** Ready when the container's own HEALTHCHECK says so. One without a HEALTHCHECK would never be: that fails at once. */
export function healthyProbe(target: Target): NamedProbe {
  return {
    name: "healthy",
    check: (_upstream, signal) =>
      until(
        async (attemptSignal) => {
          const sight = await target.look(attemptSignal);
          if (!sight.up || sight.health === "starting") throw new AnsweredError("health: starting");
          if (sight.health === "unhealthy") throw new UnhealthyError(`${target.name} says that it is unhealthy`);
          if (sight.health === undefined) throw noHealthcheck(target);
        },
        signal,
        (error) => error instanceof UnhealthyError || (error instanceof TargetError && error.fault === "invalid"),
      ),
  };
}

function noHealthcheck(target: Target): TargetError {
  return new TargetError("invalid", `${target.name} has no HEALTHCHECK, so it never says "healthy"`, {
    remedy: 'give its image or compose service a healthcheck, or use "ready: tcp"',
  });
}
