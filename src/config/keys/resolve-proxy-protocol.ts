/** Who says, or is told, for whom a connection was made: of what a service says itself and what `defaults` say. */
import type { ProxyProtocolPolicy, TargetSpec } from "../config.ts";
import type { Report } from "../yaml/schema-errors.ts";
import type { ParsedPolicies } from "./schema-policies.ts";

/** Whose connections wakeport makes itself, to something that can be told. */
const isDialled: ReadonlySet<TargetSpec["kind"]> = new Set(["container", "created", "process", "forward"]);

export function resolveProxyProtocol(
  name: string,
  { proxy_protocol: own }: ParsedPolicies,
  { proxy_protocol: defaults }: ParsedPolicies,
  { kind }: TargetSpec,
  report: Report,
): ProxyProtocolPolicy {
  const path = ["services", name];
  if (own?.send !== undefined && !isDialled.has(kind)) {
    const message = `service "${name}": a target of the kind "${kind}" is not connected to, so there is nobody to send a header to`;
    report({ path: [...path, "proxy_protocol"], key: "send", message, hint: "remove it" });
  }
  const receive = own?.receive ?? defaults?.receive ?? [];
  if (receive.length > 0 && kind === "inetd") {
    const message = `service "${name}": "inetd" hands the connection itself to the program, so nothing may have been read of it`;
    const hint = 'use "process", or "proxy_protocol: { receive: [] }" where no proxy connects';
    const where = own?.receive === undefined ? { path } : { path: [...path, "proxy_protocol"], key: "receive" };
    report({ ...where, message, hint });
  }
  const send = isDialled.has(kind) ? (own?.send ?? defaults?.send) : undefined;
  return { receive, ...(send !== undefined && { send }) };
}
