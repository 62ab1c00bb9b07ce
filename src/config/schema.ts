/**
 * The shape of wakeport.yaml: the one source of its keys, their types, defaults and descriptions, and of the JSON
 * Schema that editors use. What one key alone cannot tell is checked in resolve.ts.
 */
import { z } from "zod";
import type { BuiltinName, LogFormat, LogLevel } from "./config.ts";
import { address, dataPort, dockerName, duration, names, port, portRanges } from "./keys/schema-parts.ts";
import { type ParsedPolicies, policies } from "./keys/schema-policies.ts";
import {
  builtinTarget,
  containerTarget,
  forwardTarget,
  inetdTarget,
  type ParsedContainer,
  type ParsedInetd,
  type ParsedProcess,
  processTarget,
  sensorTarget,
} from "./keys/schema-targets.ts";
import type { PortMapping, PortRange } from "./values/ports.ts";

/** The file's content after the schema: shaped and read, not yet cross-checked. Durations are in milliseconds. */
export interface ParsedConfig {
  readonly services: Readonly<Record<string, ParsedService>>;
  readonly defaults: ParsedPolicies;
  readonly admin: {
    readonly listen?: { readonly host: string; readonly port: number } | undefined;
    readonly allowed_hosts?: readonly string[] | undefined;
  };
  readonly docker: {
    readonly host?: string | undefined;
    readonly project?: string | undefined;
    readonly discover: boolean | "all";
    readonly labels: {
      readonly ports?: readonly PortRange[] | undefined;
      readonly names?: readonly string[] | undefined;
    };
  };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat; readonly user_id: boolean };
  readonly shutdown: { readonly targets: "stop" | "leave"; readonly drain: number };
}

export interface ParsedService extends ParsedPolicies {
  readonly depends_on: readonly string[];
  readonly group?: string | undefined;
  readonly with: readonly string[];
  /** Empty for a service without ports. */
  readonly ports: readonly PortMapping[];
  readonly data?: readonly PortMapping[] | undefined;
  readonly host?: readonly string[] | undefined;
  readonly sni?: readonly string[] | undefined;
  readonly container?: ParsedContainer | undefined;
  readonly process?: ParsedProcess | undefined;
  readonly inetd?: ParsedInetd | undefined;
  readonly forward?: { readonly host: string; readonly port: number } | undefined;
  readonly builtin?: BuiltinName | undefined;
  readonly sensor?: { readonly ban: number } | undefined;
}

const service = z.strictObject({
  ports: z
    .union([port.transform((one) => [one]), z.array(port).min(1)])
    .default([])
    .describe("Where to listen, as in compose: [address:]port[:target], of which both may be ranges; default: no port"),
  data: z
    .union([dataPort.transform((one) => [one]), z.array(dataPort).min(1)])
    .optional()
    .describe("FTP's data ports: for whoever has a connection to one of `ports`; they wake nothing"),
  host: names("host")
    .optional()
    .describe('Hosts of HTTP whose requests it gets: "app.test", "*.app.test", "*"; several services may share a port'),
  sni: names("sni")
    .optional()
    .describe('Names in TLS whose clients it gets: "app.test", "*.app.test", "*"; several services may share a port'),
  container: containerTarget.optional(),
  process: processTarget.optional(),
  inetd: inetdTarget.optional(),
  forward: forwardTarget.optional(),
  builtin: builtinTarget.optional(),
  sensor: sensorTarget.optional(),
  depends_on: z
    .array(z.string().min(1))
    .default([])
    .describe("Services whose targets are ready before this one starts, and stay up as long as it is awake"),
  group: dockerName.optional().describe("Services of one group wake and sleep together"),
  with: z
    .array(z.string().min(1))
    .default([])
    .describe("Services with which this one wakes and sleeps; they do not wait for it, nor fail if it fails"),
  ...z.strictObject(policies).partial().shape,
});

export const serviceKeys: ReadonlySet<string> = new Set(Object.keys(service.shape));
export const defaultsKeys: ReadonlySet<string> = new Set(Object.keys(policies));

const serviceName = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, "a service's name has letters, digits, dots, dashes and underscores");

export const configSchema: z.ZodType<ParsedConfig> = z
  .strictObject({
    services: z.record(serviceName, service).default({}).describe("What to listen for, by name"),
    defaults: z
      .strictObject(policies)
      .partial()
      .default({})
      .describe("For all services that do not set the key themselves"),
    admin: z
      .strictObject({
        listen: address.optional().describe("Where metrics, health and status are served"),
        allowed_hosts: names("host")
          .optional()
          .describe(
            "Host names that requests may have in addition to addresses, names without a dot and the machine's name",
          ),
      })
      .default({}),
    docker: z
      .strictObject({
        host: z.string().min(1).optional().describe("The engine; default: DOCKER_HOST, or unix:///var/run/docker.sock"),
        project: dockerName.optional().describe("The compose project of containers that name only a service"),
        discover: z
          .union([z.boolean(), z.literal("all")])
          .default(false)
          .describe("Whether labels of containers make services: of the own project, or of all"),
        labels: z
          .strictObject({
            ports: portRanges.optional().describe("Ports that labels may claim; default: 1024-65535"),
            names: names("host")
              .optional()
              .describe(
                "Names that labels may claim as host or sni; default: all that neither cover a name of this file nor are covered by one",
              ),
          })
          .default({})
          .describe("Ports and names that labels may claim"),
      })
      .default({ discover: false, labels: {} }),
    log: z
      .strictObject({
        level: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info"),
        format: z
          .enum(["auto", "json", "pretty", "xinetd"])
          .default("auto")
          .describe("auto: pretty on a terminal, else JSON; xinetd: its lines"),
        user_id: z.boolean().default(false).describe("Whether the clients' ident servers are asked (RFC 1413)"),
      })
      .default({ level: "info", format: "auto", user_id: false }),
    shutdown: z
      .strictObject({
        targets: z.enum(["stop", "leave"]).default("stop").describe("What becomes of containers when wakeport ends"),
        drain: duration.default(10_000).describe("How long connections may go on when wakeport ends"),
      })
      .default({ targets: "stop", drain: 10_000 }),
  })
  .describe("wakeport.yaml");

/** JSON Schema (draft-07) of wakeport.yaml, for editors. */
export function jsonSchema(): object {
  const schema = z.toJSONSchema(configSchema, { io: "input", target: "draft-7" });
  return { ...schema, title: "wakeport.yaml" };
}
