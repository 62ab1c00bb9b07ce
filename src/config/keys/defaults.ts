import type { StatusRange, UdpPolicy } from "../config.ts";
import type { PortRange } from "../values/ports.ts";
import type { ParsedPolicies, ParsedReady } from "./schema-policies.ts";

/** The values of the keys that neither a service nor `defaults` sets. Durations in milliseconds. */
export const builtInDefaults: {
  readonly [Key in
    | "network"
    | "idle_timeout"
    | "sleep"
    | "min_uptime"
    | "start_timeout"
    | "release_pace"
    | "protocol"
    | "hold"
    | "wake_on"
    | "on_deny"
    | "enabled"]-?: NonNullable<ParsedPolicies[Key]>;
} & {
  readonly ready: ParsedReady;
  readonly status: StatusRange;
  readonly waiting: number;
  readonly udp: UdpPolicy;
  readonly ipv6_prefix: number;
  readonly on_limit: "reject" | "queue";
  readonly process_stop_grace: number;
  /** In bytes: more than ARP and keep-alive packets of an idle timeout, less than one short request. */
  readonly direct_traffic_threshold: number;
  readonly log_lines: number;
  readonly label_ports: PortRange;
} = {
  network: "auto",
  ready: "protocol",
  status: { from: 200, to: 399 },
  idle_timeout: 5 * 60_000,
  sleep: "stop",
  min_uptime: 0,
  direct_traffic_threshold: 1024,
  start_timeout: 60_000,
  process_stop_grace: 10_000,
  release_pace: 4,
  protocol: "raw",
  hold: "auto",
  log_lines: 0,
  label_ports: { first: 1_024, last: 65_535 },
  wake_on: "connect",
  waiting: 1_000,
  udp: { flowTimeoutMs: 30_000, flows: 1_000, heldBytes: 64 * 1024 },
  ipv6_prefix: 64,
  on_limit: "reject",
  on_deny: "reset",
  enabled: true,
};
