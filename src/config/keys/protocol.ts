/** The protocol of a service, and what its clients receive while the target starts. */
import { z } from "zod";
import { type HoldSpec, type ProtocolName, protocolNames, type Service, serverFirst, wokenKinds } from "../config.ts";
import {
  type Context,
  effective,
  key,
  section,
  started,
  startedKinds,
  type UntargetedContext,
  type Written,
} from "./key.ts";
import type { portKeys } from "./ports.ts";

const pageKeys = {
  log_lines: key(z.int().min(0).max(100), {
    default: 0,
    description: "Number of last output lines of the target that the page shows to each visitor",
  }),
};

export const protocolKeys = {
  protocol: key(z.enum(protocolNames), {
    default: "raw",
    description: "The protocol of the clients: it decides what they receive while the target starts",
    ...started,
    needs: "tcp",
  }),
  hold: key(
    z.union([
      z.enum(["auto", "silent", "page"]),
      z.strictObject({ page: section(pageKeys).describe("A web page, as `page` alone") }),
    ]),
    {
      default: "auto",
      description: "What clients receive while the target starts: a reply in their protocol, nothing, or a web page",
      targets: startedKinds,
      needs: "tcp",
      label: true,
    },
  ),
  wake_on: key(z.enum(["connect", "first_byte"]), {
    default: "connect",
    description: "What starts the target: a connection, or the first byte from a client",
    ...started,
    needs: "tcp",
  }),
};

/** Ports on which clients begin with TLS, so that they cannot parse a reply in plain text. */
export const tlsFirst: Readonly<Partial<Record<ProtocolName, number>>> = { smtp: 465, ftp: 990 };

export function protocolOf(
  { own, defaults }: Pick<UntargetedContext<typeof protocolKeys>, "own" | "defaults">,
  kind: Service["target"]["kind"],
): ProtocolName {
  return effective(protocolKeys, ...(wokenKinds.has(kind) ? [own, defaults] : [])).protocol;
}

/** An inherited `hold` that does not fit the protocol counts as absent, because `defaults` apply to all services. */
export function resolveHold(context: Context<typeof protocolKeys>): Pick<Service, "hold"> {
  const { own, defaults, target, protocol, report } = context;
  // No client waits for such a target.
  if (!wokenKinds.has(target.kind)) return { hold: { kind: "auto" } };
  const hold = holdOf(effective(protocolKeys, own, defaults).hold);
  // FTP is parsed for the whole connection, not only while clients wait.
  if (hold.kind === "auto" || protocol === "ftp") checkTlsPorts(context);
  if (hold.kind !== "page" || protocol === "http") return { hold };
  if (own.hold !== undefined) {
    const hint = 'write "protocol: http" if its clients use HTTP, or remove "hold"';
    report(`"hold: page" is for web browsers, and its protocol is "${protocol}"`, { at: ["hold"], hint });
  }
  return { hold: { kind: "auto" } };
}

function holdOf(written: NonNullable<Written<typeof protocolKeys>["hold"]>): HoldSpec {
  if (written !== "page" && typeof written === "string") return { kind: written };
  const { log_lines } = effective(pageKeys, written === "page" ? {} : written.page);
  return { kind: "page", logLines: log_lines };
}

function checkTlsPorts({ ports, protocol, report }: Context<typeof protocolKeys>): void {
  const tlsPort = tlsFirst[protocol];
  if (tlsPort === undefined) return;
  for (const [index, { listen, target = listen, count = 1, protocol: transport }] of ports.entries()) {
    const isTls = [listen, target].some((first) => first <= tlsPort && tlsPort < first + count);
    if (!isTls || transport === "udp") continue;
    const remedy = 'use another service with "protocol: raw" and the same target for this port';
    const hint = protocol === "ftp" ? `${remedy}, and "data:" ports` : `${remedy}, or write "hold: silent"`;
    const message = `clients of port ${tlsPort} begin with TLS, which "protocol: ${protocol}" cannot read`;
    report(message, { at: ["ports", index], hint });
  }
}

export function resolveWakeOn(context: Context<typeof protocolKeys & typeof portKeys>): Pick<Service, "wakeOn"> {
  const { own, defaults, target, protocol, report } = context;
  const { wake_on } = effective(protocolKeys, own, defaults);
  const reason = silenceOf(protocol, own.data !== undefined);
  if (wake_on === "first_byte" && reason !== undefined && wokenKinds.has(target.kind)) {
    const hint = own.wake_on === undefined ? 'add "wake_on: connect" here' : 'remove it, or use "connect"';
    const place = own.wake_on === undefined ? {} : { key: "wake_on" };
    report(`no first byte would arrive: ${reason}`, { ...place, hint });
  }
  return { wakeOn: wake_on };
}

/** Returns why clients wait for the server, or undefined. */
function silenceOf(protocol: ProtocolName, hasData: boolean): string | undefined {
  if (serverFirst.has(protocol)) return `in ${protocol} the server sends first`;
  return hasData ? "data ports are for FTP, in which the server sends first" : undefined;
}
