/** How wakeport connects to a target. */
import { z } from "zod";
import { proxyVersions } from "../../net/proxy-protocol.ts";
import type { TargetSpec } from "../config.ts";
import { networks } from "./access.ts";
import { type Context, effective, forClients, key, section, started } from "./key.ts";

const proxyProtocolKeys = {
  send: key(z.enum(proxyVersions), {
    description: "Sends the target a header with the address of the client, in this version",
  }),
  receive: key(networks, {
    default: [],
    description: "Addresses and networks of proxies: their connections must begin with a header",
  }),
};

export const connectionKeys = {
  network: key(z.string().min(1), {
    default: "auto",
    description: 'The network of the container that wakeport connects over; "auto": a network of wakeport itself',
    targets: ["container"],
    ...forClients,
  }),
  release_pace: key(z.int().min(1).max(10_000), {
    default: 4,
    description: "Limit of simultaneous dials to the target; more than its listen backlog can lose clients",
    ...started,
    needs: "ports",
  }),
  proxy_protocol: key(section(proxyProtocolKeys), {
    description: "The PROXY protocol: client addresses, sent to the target or received from a proxy",
    needs: "tcp",
    label: true,
  }),
};

/** Targets to which wakeport opens connections. */
const dialedKinds: ReadonlySet<TargetSpec["kind"]> = new Set(["container", "created", "process", "forward"]);

export function resolveConnection({ own, defaults, target: { kind }, report }: Context<typeof connectionKeys>) {
  const written = own.proxy_protocol;
  const at = ["proxy_protocol"];
  if (written?.send !== undefined && !dialedKinds.has(kind)) {
    report(`wakeport opens no connection to "${kind}", so "send" has no effect`, {
      at,
      key: "send",
      hint: "remove it",
    });
  }
  const { send, receive } = effective(proxyProtocolKeys, written, defaults.proxy_protocol);
  if (receive.length > 0 && kind === "inetd") {
    const hint = 'use "process", or "proxy_protocol: { receive: [] }" if no proxy connects';
    const place = written?.receive === undefined ? {} : { at, key: "receive" };
    report('"inetd" passes the connection itself to the program, so wakeport cannot read a header from it', {
      ...place,
      hint,
    });
  }
  return {
    releasePace: effective(connectionKeys, own, defaults).release_pace,
    proxyProtocol: { receive, ...(send !== undefined && dialedKinds.has(kind) && { send }) },
  };
}
