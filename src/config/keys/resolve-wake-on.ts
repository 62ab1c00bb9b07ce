/** What it takes from a client to wake the target. */

import { type ProtocolName, type Service, serverFirst, type TargetSpec, wokenKinds } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import type { Report } from "../yaml/schema-errors.ts";
import { builtInDefaults } from "./defaults.ts";
import type { ParsedPolicies } from "./schema-policies.ts";

/** @param protocol what the clients of the service speak */
export function resolveWakeOn(
  name: string,
  own: Pick<ParsedService, "wake_on" | "data">,
  defaults: ParsedPolicies,
  { kind }: TargetSpec,
  protocol: ProtocolName,
  report: Report,
): Service["wakeOn"] {
  const wakeOn = own.wake_on ?? defaults.wake_on ?? builtInDefaults.wake_on;
  const why = silenceOf(protocol, own);
  if (wakeOn === "first_byte" && why !== undefined && wokenKinds.has(kind)) {
    const message = `service "${name}" would never be woken by a first byte: ${why}, and its clients wait for that`;
    const hint = own.wake_on === undefined ? 'set "wake_on: connect" here' : 'remove it, or use "connect"';
    report({ path: ["services", name], ...(own.wake_on !== undefined && { key: "wake_on" }), message, hint });
  }
  return wakeOn;
}

/** Why clients say nothing at first. */
function silenceOf(protocol: ProtocolName, { data = [] }: Pick<ParsedService, "data">): string | undefined {
  if (serverFirst.has(protocol)) return `in ${protocol} the server speaks first`;
  return data.length > 0 ? "it has data ports, as FTP has, in which the server speaks first" : undefined;
}
