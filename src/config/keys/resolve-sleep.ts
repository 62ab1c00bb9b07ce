/** How and when an idle target is put away: a single step, or a ladder. */

import type { Config, Service, TargetSpec } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import type { Report } from "../yaml/schema-errors.ts";
import { builtInDefaults } from "./defaults.ts";
import type { ParsedPolicies, ParsedSleepStep } from "./schema-policies.ts";

type SleepPolicy = Pick<Service, "idleTimeoutMs" | "sleep" | "thenStop">;

export function resolveSleep(
  name: string,
  own: ParsedService,
  defaults: ParsedPolicies,
  target: TargetSpec,
  report: Report,
): SleepPolicy {
  const path = ["services", name];
  const steps = stepsOf(own, defaults);
  const [first, second, ...more] = steps;
  const isOwn = own.sleep !== undefined;
  const complain = (message: string, hint?: string): void =>
    report({ path: isOwn ? [...path, "sleep"] : ["defaults", "sleep"], message, ...(hint && { hint }) });
  if (typeof own.sleep === "object" && own.idle_timeout !== undefined) {
    const message = `service "${name}": the steps of "sleep" say when, so "idle_timeout" has no meaning`;
    report({ path: [...path, "idle_timeout"], message, hint: `remove it, or write "sleep: ${first.do}"` });
  }
  if (target.kind === "process" && steps.some((step) => step.do === "pause")) {
    complain(`service "${name}": a process cannot be paused`, 'use "stop" or "kill"');
  }
  if (more.length > 0 || (second !== undefined && (first.do !== "pause" || second.do === "pause"))) {
    const example = "[{ after: 1m, do: pause }, { after: 30m, do: stop }]";
    complain(`service "${name}": a ladder goes from pause to stop or kill, one step each`, `like ${example}`);
  }
  if (second !== undefined && second.after <= first.after) {
    complain(`service "${name}": the second step of "sleep" comes after the first: its "after" must be longer`);
  }
  return policyOfSteps(first, second);
}

/** As of a service that sets nothing itself. */
export function dependencyPolicy(defaults: ParsedPolicies): Config["dependencyPolicy"] {
  const [first, second] = stepsOf({}, defaults);
  return {
    ...policyOfSteps(first, second),
    minUptimeMs: defaults.min_uptime ?? builtInDefaults.min_uptime,
    startTimeoutMs: defaults.start_timeout ?? builtInDefaults.start_timeout,
    ...directTrafficOf({}, defaults),
  };
}

/** Bytes of direct traffic that do not keep a target awake. */
export function directTrafficOf(
  own: ParsedPolicies,
  defaults: ParsedPolicies,
): { readonly directTrafficBytes?: number } {
  const value = own.direct_traffic ?? defaults.direct_traffic ?? "hold";
  if (value === "ignore") return {};
  return { directTrafficBytes: value === "hold" ? builtInDefaults.direct_traffic_threshold : value.threshold };
}

type Steps = readonly [ParsedSleepStep, ...ParsedSleepStep[]];

/** A sleep that is no list has one step, after the idle timeout. */
function stepsOf(own: ParsedPolicies, defaults: ParsedPolicies): Steps {
  const sleep = own.sleep ?? defaults.sleep ?? builtInDefaults.sleep;
  if (typeof sleep !== "string") return sleep as Steps;
  return [{ after: own.idle_timeout ?? defaults.idle_timeout ?? builtInDefaults.idle_timeout, do: sleep }];
}

function policyOfSteps(first: ParsedSleepStep, second: ParsedSleepStep | undefined): SleepPolicy {
  const policy = { idleTimeoutMs: first.after, sleep: first.do };
  if (second === undefined || second.do === "pause") return policy;
  return { ...policy, thenStop: { afterMs: Math.max(0, second.after - first.after), action: second.do } };
}
