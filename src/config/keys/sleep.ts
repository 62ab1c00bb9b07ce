/** When and how an idle target is stopped or paused. */
import { z } from "zod";
import type { Config, Service } from "../config.ts";
import { duration, size } from "./common.ts";
import { type Context, effective, key, started, startedKinds, type Written } from "./key.ts";
import { startKeys } from "./start.ts";

const action = z.enum(["stop", "pause", "kill"]);

const step = z.strictObject({
  after: duration.describe("Time since the last connection of the target"),
  do: action.describe("How the target is put to sleep"),
});
type Step = z.output<typeof step>;

/** More bytes than ARP and keep-alive packets of one idle timeout, and fewer than one short request. */
const DIRECT_TRAFFIC_BYTES = 1024;

export const sleepKeys = {
  idle_timeout: key(duration, {
    default: "5m",
    description: "Time from the last connection of a target until it is stopped or paused",
    ...started,
  }),
  sleep: key(z.union([action, z.array(step).min(1)]), {
    default: "stop",
    description: "How an idle target is stopped; a list has its own times and goes from pause to stop or kill",
    ...started,
  }),
  direct_traffic: key(
    z.union([
      z.enum(["hold", "ignore"]),
      z.strictObject({
        threshold: size.describe("Bytes of direct traffic in one idle timeout that do not keep the target awake: 64k"),
      }),
    ]),
    {
      default: "hold",
      description: "Whether direct traffic, which bypasses wakeport, keeps an idle target awake",
      targets: startedKinds,
      label: true,
    },
  ),
};

type SleepPolicy = Pick<Service, "idleTimeoutMs" | "sleep" | "thenStop" | "directTrafficBytes">;
type SleepKeys = typeof sleepKeys;

export function resolveSleep({ own, defaults, target, report }: Context<SleepKeys>): SleepPolicy {
  const [first, second, ...more] = stepsOf(own, defaults);
  const steps = [first, second, ...more];
  if (typeof own.sleep === "object" && own.idle_timeout !== undefined) {
    const hint = `remove it, or write "sleep: ${first.do}"`;
    report('"idle_timeout" has no effect: the steps of "sleep" have their own times', { at: ["idle_timeout"], hint });
  }
  const at = ["sleep"];
  if (target.kind === "process" && steps.some((one) => one?.do === "pause")) {
    report("a process cannot be paused", { at, hint: 'use "stop" or "kill"' });
  }
  if (more.length > 0 || (second !== undefined && (first.do !== "pause" || second.do === "pause"))) {
    const hint = "write [{ after: 1m, do: pause }, { after: 30m, do: stop }]";
    report('"sleep" has two steps at most: pause, then stop or kill', { at, hint });
  }
  if (second !== undefined && second.after <= first.after) {
    report('the second step of "sleep" must have a longer "after" than the first', { at });
  }
  return { ...policyOf(first, second), ...directTraffic(own, defaults) };
}

/** The policy of containers that only other containers depend on. */
export function dependencyPolicy(defaults: Written<SleepKeys & typeof startKeys>): Config["dependencyPolicy"] {
  const [first, second] = stepsOf(defaults);
  const { min_uptime, start_timeout } = effective(startKeys, defaults);
  return {
    ...policyOf(first, second),
    ...directTraffic(defaults),
    minUptimeMs: min_uptime,
    startTimeoutMs: start_timeout,
  };
}

function directTraffic(...written: Written<SleepKeys>[]): Pick<SleepPolicy, "directTrafficBytes"> {
  const { direct_traffic: traffic } = effective(sleepKeys, ...written);
  if (traffic === "ignore") return {};
  return { directTrafficBytes: traffic === "hold" ? DIRECT_TRAFFIC_BYTES : traffic.threshold };
}

/** Returns the list, or the only step: the action after the idle timeout. */
function stepsOf(...written: Written<SleepKeys>[]): readonly [Step, ...Step[]] {
  const { sleep, idle_timeout } = effective(sleepKeys, ...written);
  // The schema requires one step.
  return typeof sleep === "string" ? [{ after: idle_timeout, do: sleep }] : (sleep as [Step, ...Step[]]);
}

function policyOf(first: Step, second: Step | undefined): Omit<SleepPolicy, "directTrafficBytes"> {
  const policy = { idleTimeoutMs: first.after, sleep: first.do };
  if (second === undefined || second.do === "pause") return policy;
  return { ...policy, thenStop: { afterMs: Math.max(0, second.after - first.after), action: second.do } };
}
