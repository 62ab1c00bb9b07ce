/** Times of the start and the stop of a target. */
import { z } from "zod";
import { duration, present } from "./common.ts";
import { type Context, effective, key, started } from "./key.ts";

export const startKeys = {
  start_timeout: key(
    duration.refine((ms) => ms > 0, "with 0s no target could start"),
    {
      default: "60s",
      description: "Limit for a start; then the waiting clients are rejected",
      targets: ["container", "process", "forward", "builtin"],
      label: true,
    },
  ),
  min_uptime: key(duration, { default: "0s", description: "Minimum time that a ready target stays up", ...started }),
  stop_grace: key(duration, {
    description: "Time from the stop signal to SIGKILL; default: that of the container, or 10s for a process",
    targets: ["container", "process", "inetd"],
    label: true,
  }),
  enabled: key(z.boolean(), { default: true, description: "false: wakeport does not listen for the service" }),
};

export function resolveStart({ own, defaults }: Context<typeof startKeys>) {
  const { start_timeout, min_uptime, stop_grace, enabled } = effective(startKeys, own, defaults);
  return present({ startTimeoutMs: start_timeout, minUptimeMs: min_uptime, stopGraceMs: stop_grace, enabled });
}
