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
          const status = await target.inspect(attemptSignal);
          if (!status.up || status.health === "starting") throw new AnsweredError("health: starting");
          if (status.health === "unhealthy") throw new UnhealthyError(`${target.name} says that it is unhealthy`);
          if (status.health === undefined) throw noHealthcheck(target);
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
