/** The shapes of the keys that `defaults` may hold as well. */
import net from "node:net";
import { z } from "zod";
import type { SleepAction } from "../../activation/target.ts";
import type { Network } from "../../net/ip.ts";
import { type ProxyVersion, proxyVersions } from "../../net/proxy-protocol.ts";
import { type ProtocolName, protocolNames, type Service, type StatusRange } from "../config.ts";
import { parseHeaders, parsePattern, parseStatus } from "../values/readiness.ts";
import { parseSize } from "../values/units.ts";
import { admission, networks, type ParsedAdmission } from "./schema-admission.ts";
import { duration, reading, texts } from "./schema-parts.ts";

export interface ParsedPolicies extends ParsedAdmission {
  readonly network?: string | undefined;
  readonly ready?: ParsedReady | readonly ParsedReady[] | undefined;
  readonly idle_timeout?: number | undefined;
  readonly min_uptime?: number | undefined;
  readonly start_timeout?: number | undefined;
  readonly direct_traffic?: ParsedDirectTraffic | undefined;
  readonly sleep?: ParsedSleep | undefined;
  readonly stop_grace?: number | undefined;
  readonly release_pace?: number | undefined;
  readonly protocol?: ProtocolName | undefined;
  readonly hold?: ParsedHold | undefined;
  readonly proxy_protocol?:
    | { readonly send?: ProxyVersion | undefined; readonly receive?: readonly Network[] | undefined }
    | undefined;
  readonly wake_on?: Service["wakeOn"] | undefined;
  readonly ftp?: { readonly public_address?: string | undefined } | undefined;
  readonly udp?:
    | {
        readonly flow_timeout?: number | undefined;
        readonly flows?: number | undefined;
        readonly held?: number | undefined;
      }
    | undefined;
  readonly enabled?: boolean | undefined;
}

export type ParsedHold = "auto" | "silent" | "page" | { readonly page: { readonly log_lines?: number | undefined } };

export type ParsedDirectTraffic = "hold" | "ignore" | { readonly threshold: number };

export interface ParsedSleepStep {
  readonly after: number;
  readonly do: SleepAction;
}

export type ParsedSleep = SleepAction | readonly ParsedSleepStep[];

export type ParsedReady =
  | "protocol"
  | "tcp"
  | "healthy"
  | { readonly banner: string }
  | {
      readonly http: string;
      readonly status?: StatusRange | undefined;
      readonly headers?: Readonly<Record<string, string>> | undefined;
    }
  | { readonly log: string };

const readyPart = z.union([
  z.enum(["protocol", "tcp", "healthy"]),
  z.strictObject({ banner: z.string().min(1).describe("What the server greets with") }),
  z.strictObject({
    http: z
      .string()
      .regex(/^\/[!-~]*$/, 'a path starts with "/" and has no spaces')
      .describe("A path that is asked for with GET"),
    status: z
      .union([z.number(), z.string()])
      .transform((value) => String(value))
      .transform(reading(parseStatus))
      .optional()
      .describe('The status that it answers when it is ready, or a range of them; default: "200-399"'),
    headers: texts
      .transform(reading(parseHeaders))
      .optional()
      .describe('Headers of the request; default: "Host" is the address and port that are dialled'),
  }),
  z.strictObject({
    log: z
      .string()
      .min(1)
      .transform(reading(parsePattern))
      .describe("A JavaScript regular expression that matches a line of the target's output"),
  }),
]);

/** Why something is none, and what would be one. */
function noPublicAddress(input: string): string {
  const [, address] = /^(\d+\.\d+\.\d+\.\d+)[/:]\d+$/.exec(input) ?? [];
  if (address !== undefined) return `an address alone is told here: write "${address}"`;
  const rule = 'PASV tells clients an IPv4 address: write one that they know, like "203.0.113.5"';
  return net.isIPv6(input) ? `${rule}; those of IPv6 use EPSV, which needs none` : rule;
}

/** Whether it can be the address of one machine: neither 0.0.0.0 nor of a group or of all. What is no address is told as such. */
function isOfOne(address: string): boolean {
  if (!net.isIPv4(address)) return true;
  const first = Number(address.split(".")[0]);
  return first > 0 && first < 224;
}

const sleepAction = z.enum(["stop", "pause", "kill"]);

const sleepStep = z.strictObject({
  after: duration.describe("How long after the target's last connection"),
  do: sleepAction,
});

/** The keys that `defaults` may hold as well. */
export const policies: { readonly [Key in keyof ParsedPolicies]-?: z.ZodType<NonNullable<ParsedPolicies[Key]>> } = {
  network: z.string().min(1).describe('The network whose address is dialled; "auto" takes one that wakeport shares'),
  ready: z
    .union([readyPart, z.array(readyPart).min(1)])
    .describe("When the target counts as ready; of a list, all must hold"),
  idle_timeout: duration.describe("How long after its last connection a target goes to sleep"),
  sleep: z
    .union([sleepAction, z.array(sleepStep).min(1)])
    .describe("How an idle target is put away; a list has its own times, and goes from pause to stop"),
  min_uptime: duration.describe("How long a target stays up at least, once it is ready"),
  direct_traffic: z
    .union([
      z.enum(["hold", "ignore"]),
      z.strictObject({
        threshold: z
          .union([z.string(), z.number()])
          .transform(String)
          .transform(reading(parseSize))
          .describe("Amount of direct traffic in one idle timeout that does not keep the target awake: 64k"),
      }),
    ])
    .describe("Whether direct traffic, which does not pass through wakeport, keeps an idle target awake"),
  start_timeout: duration.describe("How long a start may take before the waiting clients are refused"),
  stop_grace: duration.describe("From the stop signal to the kill; default: the container's own, or 10s for a process"),
  release_pace: z
    .int()
    .min(1)
    .max(10_000)
    .describe("How many dials to the target are under way at a time; more than its listen backlog can lose clients"),
  protocol: z
    .enum(protocolNames)
    .describe("What clients speak: it decides how they are held while the target starts, and what they are told"),
  hold: z
    .union([
      z.enum(["auto", "silent", "page"]),
      z.strictObject({
        page: z.strictObject({
          log_lines: z
            .int()
            .min(0)
            .max(100)
            .optional()
            .describe("How many of the last lines that the target printed the page shows, to whoever opens it"),
        }),
      }),
    ])
    .describe("What clients get while the target starts: whatever suits their protocol, nothing, or another answer"),
  ftp: z.strictObject({
    public_address: z
      .ipv4({ error: ({ input }) => noPublicAddress(String(input)) })
      .refine((address) => isOfOne(address), {
        error: ({ input }) =>
          `${String(input)} is nowhere that clients could connect to: write the address that they know`,
      })
      .optional()
      .describe("The IPv4 address that PASV tells clients; default: the one that they connected to"),
  }),
  proxy_protocol: z
    .strictObject({
      send: z.enum(proxyVersions).optional().describe("Whether the target is told, in a header, who each client is"),
      receive: networks
        .optional()
        .describe("Addresses and networks of proxies: who connects from there must say, in a header, for whom"),
    })
    .describe("The PROXY protocol: real addresses of clients, to the target and from a proxy in front"),
  wake_on: z
    .enum(["connect", "first_byte"])
    .describe("What wakes the target: a connection, or the first byte that a client sends"),
  ...admission,
  udp: z.strictObject({
    flow_timeout: duration
      .refine((ms) => ms > 0, "with 0s every flow would end at once")
      .optional()
      .describe("Silence after which a client of a UDP port is forgotten"),
    flows: z.int().min(1).max(100_000).optional().describe("How many clients of UDP ports are known at a time"),
    held: z
      .union([z.string(), z.number()])
      .transform(String)
      .transform(reading(parseSize))
      .optional()
      .describe("How many bytes are held for each of them while the target starts: 64k"),
  }),
  enabled: z.boolean().describe("false: the service is not listened for"),
};
