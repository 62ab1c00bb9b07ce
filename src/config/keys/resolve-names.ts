/** By which names a service is told apart from others on the same port. */
import { type NameKind, type Names, nameKinds } from "../../net/hostname.ts";
import { type ProtocolName, serverFirst, type TargetSpec } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import type { Report } from "../yaml/schema-errors.ts";

/** What may be spoken where clients begin with a request of HTTP, or with TLS. */
const spoken: Readonly<Record<NameKind, ReadonlySet<string>>> = {
  host: new Set(["raw", "http"]),
  sni: new Set(["raw"]),
};
const beginning: Readonly<Record<NameKind, string>> = { host: "a request of HTTP", sni: "TLS" };

export function resolveNames(
  name: string,
  own: ParsedService,
  target: TargetSpec,
  protocol: ProtocolName,
  report: Report,
): Names | undefined {
  const path = ["services", name];
  const [kind, second] = nameKinds.filter((one) => own[one] !== undefined);
  if (kind === undefined) return undefined;
  const patterns = own[kind] ?? [];
  const fail = (message: string, hint: string): void =>
    report({ path, key: kind, message: `service "${name}": ${message}`, hint });
  if (second !== undefined) {
    fail('"sni" and "host" exclude each other', "make two services of it, which may have the same target");
  } else if (target.kind === "inetd") {
    const why = "so nothing may have been read of it";
    fail(`"inetd" hands the connection itself to the program, ${why}`, `remove "${kind}", or use "process"`);
  } else if (own.ports.every((port) => port.protocol === "udp")) {
    fail(`"${kind}" is said on connections, and all its ports are for UDP`, "remove it");
  } else if (serverFirst.has(protocol)) {
    const why = "before it says anything";
    fail(
      `with "protocol: ${protocol}" a client waits for the server ${why}`,
      `remove "${kind}", and give it a port alone`,
    );
  } else if (!spoken[kind].has(protocol)) {
    fail(`clients that speak "${protocol}" do not begin with ${beginning[kind]}`, 'use "protocol: raw"');
  }
  const twice = patterns.find((pattern, index) => patterns.indexOf(pattern) !== index);
  if (twice !== undefined) fail(`"${twice}" is there twice`, "remove one of them");
  return { kind, patterns };
}
