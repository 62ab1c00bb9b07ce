/**
 * The shape of wakeport.yaml: the one source of its keys, their types, defaults and descriptions, and of the JSON
 * Schema that editors use. What one key alone cannot tell is checked in resolve.ts.
 */
import { z } from "zod";
import type { SleepAction } from "../target/target.ts";
import type { LogFormat, LogLevel, StatusRange } from "./config.ts";
import { parseImage, parseLabels, parseMemory, parseVolume } from "./created.ts";
import { type PortMapping, parseHostPort, parsePort } from "./ports.ts";
import { parsePattern, parseStatus } from "./readiness.ts";
import { parseDuration, UnitError } from "./units.ts";

/** The file's content after the schema: shaped and read, not yet cross-checked. Durations are in milliseconds. */
export interface ParsedConfig {
  readonly services: Readonly<Record<string, ParsedService>>;
  readonly defaults: ParsedPolicies;
  readonly admin: { readonly listen?: { readonly host: string; readonly port: number } | undefined };
  readonly docker: {
    readonly host?: string | undefined;
    readonly project?: string | undefined;
    readonly discover: boolean | "all";
  };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  readonly shutdown: { readonly targets: "stop" | "leave"; readonly drain: number };
}

export interface ParsedPolicies {
  readonly network?: string | undefined;
  readonly ready?: ParsedReady | readonly ParsedReady[] | undefined;
  readonly idle_timeout?: number | undefined;
  readonly min_uptime?: number | undefined;
  readonly start_timeout?: number | undefined;
  readonly sleep?: ParsedSleep | undefined;
  readonly stop_grace?: number | undefined;
  readonly release_pace?: number | undefined;
  readonly limits?: { readonly waiting?: number | undefined } | undefined;
  readonly enabled?: boolean | undefined;
}

export interface ParsedSleepStep {
  readonly after: number;
  readonly do: SleepAction;
}

export type ParsedSleep = SleepAction | readonly ParsedSleepStep[];

export type ParsedReady =
  | "tcp"
  | "healthy"
  | { readonly banner: string }
  | { readonly http: string; readonly status?: StatusRange | undefined }
  | { readonly log: string };

export interface ParsedService extends ParsedPolicies {
  readonly depends_on: readonly string[];
  readonly group?: string | undefined;
  readonly ports: readonly PortMapping[];
  readonly container?:
    | string
    | { readonly service: string; readonly project?: string | undefined }
    | ParsedCreated
    | undefined;
  readonly process?: ParsedProcess | undefined;
}

export interface ParsedCreated {
  readonly image: string;
  readonly command?: readonly string[] | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  readonly networks: readonly string[];
  readonly user?: string | number | undefined;
  /** In bytes. */
  readonly memory?: number | undefined;
  readonly cpus?: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly remove: boolean;
}

export interface ParsedProcess {
  readonly command: readonly [string, ...string[]];
  readonly listen?: { readonly host: string; readonly port: number } | undefined;
  readonly cwd?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly user?: string | number | undefined;
  readonly group?: string | number | undefined;
}

/** Turns a parser that throws UnitError into a step of the schema. */
function reading<From, T>(parse: (value: From) => T): (value: From, context: z.RefinementCtx) => T {
  return (value, context) => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof UnitError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
      return z.NEVER;
    }
  };
}

const duration = z
  .string({
    error: ({ input }) => (typeof input === "number" ? `a duration has a unit: write "${input}s"` : undefined),
  })
  .transform(reading(parseDuration))
  .meta({ examples: ["500ms", "90s", "5m", "1h30m"] });

const address = z.string().transform(reading(parseHostPort));

const port = z
  .union([z.number(), z.string()])
  .transform((value) => String(value))
  .transform(reading(parsePort));

/** Names as Docker has them, so that none can mean anything else within an address of its API. */
const dockerName = z
  .string()
  .regex(
    /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/,
    "a name has letters, digits, dots, dashes and underscores, and starts with a letter or digit",
  );

const environment = z
  .record(z.string().min(1), z.union([z.string(), z.number(), z.boolean()]).transform(String))
  .default({});

const account = z.union([z.string().min(1), z.int().min(0)]);

const createdTarget = z.strictObject({
  image: z.string().transform(reading(parseImage)).describe("The image to create it of; pulled where it is missing"),
  command: z
    .array(z.string(), { error: () => 'the command is a list: ["nginx", "-g", "daemon off;"]; there is no shell' })
    .min(1)
    .optional()
    .describe("Instead of the image's own command (after its entrypoint, where it has one)"),
  env: environment.describe("Its environment, besides the image's own"),
  volumes: z
    .array(z.string().transform(reading(parseVolume)))
    .default([])
    .describe("As in compose: /folder/of/the/host:/folder[:ro], or volume:/folder"),
  networks: z
    .array(dockerName)
    .default([])
    .describe("Its networks, by name; default: the one that wakeport is in, on the host the engine's default one"),
  user: account.optional().describe("Runs as this user of the image, or user:group"),
  memory: z
    .union([z.string(), z.number()])
    .transform(String)
    .transform(reading(parseMemory))
    .optional()
    .describe("How much memory it may have: 512m, 1.5g"),
  cpus: z.number().min(0.01).max(10_000).optional().describe("How many processors it may use: 1.5"),
  labels: environment.transform(reading(parseLabels)).describe("Its labels, besides wakeport's own"),
  remove: z.boolean().default(false).describe("Whether it is removed when it is stopped, with all that it wrote"),
});

const containerTarget = z
  .union([
    dockerName.describe("The container's name"),
    z.strictObject({
      service: dockerName.describe("Its service in a compose project"),
      project: dockerName.optional().describe("The compose project; default: wakeport's own, or docker.project"),
    }),
    createdTarget,
  ])
  .describe("The container to wake: a name, a service of a compose project, or an image to create it of");

const processTarget = z
  .strictObject({
    command: z
      .tuple([z.string().min(1)], z.string(), {
        error: () => 'the command is a list: ["node", "server.js"]; there is no shell',
      })
      .describe("The program and its arguments; there is no shell in between"),
    listen: address
      .optional()
      .describe("Where the program listens; default: 127.0.0.1 and the target's part of the port"),
    cwd: z.string().min(1).optional().describe("Its working directory"),
    env: environment.describe(
      "Its environment, besides PATH, LANG, TZ and HOME; nothing else of wakeport's own is passed on",
    ),
    user: account.optional().describe("Runs as this user (name or number)"),
    group: account.optional().describe("Runs as this group (name or number); default: the user's own"),
  })
  .describe("The local program to wake");

const readyPart = z.union([
  z.enum(["tcp", "healthy"]),
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
  }),
  z.strictObject({
    log: z
      .string()
      .min(1)
      .transform(reading(parsePattern))
      .describe("A JavaScript regular expression that matches a line of the target's output"),
  }),
]);

const sleepAction = z.enum(["stop", "pause", "kill"]);

const sleepStep = z.strictObject({
  after: duration.describe("How long after the target's last connection"),
  do: sleepAction,
});

/** The keys that `defaults` may hold as well. */
const policies = {
  network: z.string().min(1).describe('The network whose address is dialled; "auto" takes one that wakeport shares'),
  ready: z
    .union([readyPart, z.array(readyPart).min(1)])
    .describe("When the target counts as ready; of a list, all must hold"),
  idle_timeout: duration.describe("How long after its last connection a target goes to sleep"),
  sleep: z
    .union([sleepAction, z.array(sleepStep).min(1)])
    .describe("How an idle target is put away; a list has its own times, and goes from pause to stop"),
  min_uptime: duration.describe("How long a target stays up at least, once it is ready"),
  start_timeout: duration.describe("How long a start may take before the waiting clients are refused"),
  stop_grace: duration.describe("From the stop signal to the kill; default: the container's own, or 10s for a process"),
  release_pace: z
    .int()
    .min(1)
    .max(10_000)
    .describe("How many dials to the target are under way at a time; more than its listen backlog can lose clients"),
  limits: z.strictObject({
    waiting: z.int().min(1).max(1_000_000).optional().describe("How many clients may wait for the target"),
  }),
  enabled: z.boolean().describe("false: the service is not listened for"),
};

const service = z.strictObject({
  ports: z
    .union([port.transform((one) => [one]), z.array(port).min(1)])
    .describe("Where to listen, as in compose: [address:]front[:target]"),
  container: containerTarget.optional(),
  process: processTarget.optional(),
  depends_on: z
    .array(z.string().min(1))
    .default([])
    .describe("Services whose targets are ready before this one starts, and stay up as long as it is awake"),
  group: dockerName.optional().describe("Services of one group wake and sleep together"),
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
      .strictObject({ listen: address.optional().describe("Where metrics, health and status are served") })
      .default({}),
    docker: z
      .strictObject({
        host: z.string().min(1).optional().describe("The engine; default: DOCKER_HOST, or unix:///var/run/docker.sock"),
        project: dockerName.optional().describe("The compose project of containers that name only a service"),
        discover: z
          .union([z.boolean(), z.literal("all")])
          .default(false)
          .describe("Whether labels of containers make services: of the own project, or of all"),
      })
      .default({ discover: false }),
    log: z
      .strictObject({
        level: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info"),
        format: z.enum(["auto", "json", "pretty"]).default("auto").describe("auto: pretty on a terminal, else JSON"),
      })
      .default({ level: "info", format: "auto" }),
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
