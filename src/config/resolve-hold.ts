/** What clients speak, and how they are held: not every way is of use for every protocol. */
import { builtIn } from "./built-in.ts";
import type { HoldSpec, ProtocolName, Service } from "./config.ts";
import type { Report } from "./issues.ts";
import type { ParsedHold, ParsedPolicies } from "./schema-policies.ts";

/** Ways that only one protocol has words for, and why. */
const ways: Readonly<Partial<Record<HoldSpec["kind"], { readonly protocol: string; readonly why: string }>>> = {
  loading: { protocol: "redis", why: "answers the commands of Redis" },
  page: { protocol: "http", why: "is a page for browsers" },
};

/** What a service inherits and cannot use counts as not said: `defaults` are for services of more than one kind. */
export function resolveHold(
  name: string,
  own: ParsedPolicies,
  defaults: ParsedPolicies,
  report: Report,
): Pick<Service, "protocol" | "hold"> {
  const protocol: ProtocolName = own.protocol ?? defaults.protocol ?? builtIn.protocol;
  const hold = holdOf(own.hold ?? defaults.hold ?? builtIn.hold);
  const way = ways[hold.kind];
  if (way === undefined || way.protocol === protocol) return { protocol, hold };
  if (own.hold !== undefined) {
    const message = `service "${name}": "hold: ${hold.kind}" ${way.why}, and its protocol is "${protocol}"`;
    const hint = `write "protocol: ${way.protocol}", if that is what its clients speak, or remove "hold"`;
    report({ path: ["services", name, "hold"], message, hint });
  }
  return { protocol, hold: { kind: "auto" } };
}

function holdOf(parsed: ParsedHold): HoldSpec {
  if (typeof parsed === "object") return { kind: "page", logLines: parsed.page.log_lines ?? builtIn.log_lines };
  return parsed === "page" ? { kind: "page", logLines: builtIn.log_lines } : { kind: parsed };
}
