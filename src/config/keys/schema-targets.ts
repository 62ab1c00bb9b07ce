/** The shapes of what a service leads to. */
import { z } from "zod";
import { type BuiltinName, builtinNames } from "../config.ts";
import { parseImage, parseLabels, parseMemory, parseVolume } from "../values/container-options.ts";
import { limitUnits, type ProgramLimit, type ProgramLimits, parseLimit, parseUmask } from "../values/process-limits.ts";
import { account, address, dockerName, duration, environment, reading } from "./schema-parts.ts";

/** The keys of a service of which it has exactly one. */
export const targetKinds = ["container", "process", "inetd", "forward", "builtin", "sensor"] as const;
export type TargetKind = (typeof targetKinds)[number];

/** What a container target may be written as. */
export type ParsedContainer =
  | string
  | { readonly service: string; readonly project?: string | undefined }
  | ParsedCreated;

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
  readonly activation: "none" | "listen_fds";
}

export interface ParsedInetd {
  readonly command: readonly [string, ...string[]];
  readonly argv0?: string | undefined;
  readonly user?: string | number | undefined;
  readonly group?: string | number | undefined;
  readonly groups?: "none" | "init" | readonly (string | number)[] | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  readonly umask?: number | undefined;
  readonly nice?: number | undefined;
  readonly rlimits?: ProgramLimits | undefined;
  readonly stderr: "log" | "socket";
  readonly wait: boolean;
}

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

export const containerTarget: z.ZodType<ParsedContainer> = z
  .union([
    dockerName.describe("The container's name"),
    z.strictObject({
      service: dockerName.describe("Its service in a compose project"),
      project: dockerName.optional().describe("The compose project; default: wakeport's own, or docker.project"),
    }),
    createdTarget,
  ])
  .describe("The container to wake: a name, a service of a compose project, or an image to create it of");

/** @param example a list as it may be written */
function command(example: string): z.ZodType<[string, ...string[]]> {
  return z
    .tuple([z.string().min(1)], z.string(), { error: () => `the command is a list: ${example}; there is no shell` })
    .describe("The program and its arguments; there is no shell in between");
}

export const processTarget: z.ZodType<ParsedProcess> = z
  .strictObject({
    command: command('["node", "server.js"]'),
    listen: address
      .optional()
      .describe("Where the program listens; default: 127.0.0.1 and the target's part of the port"),
    cwd: z.string().min(1).optional().describe("Its working directory"),
    env: environment.describe(
      "Its environment, besides PATH, LANG, TZ and HOME; nothing else of wakeport's own is passed on",
    ),
    user: account.optional().describe("Runs as this user (name or number)"),
    group: account.optional().describe("Runs as this group (name or number); default: the user's own"),
    activation: z
      .enum(["none", "listen_fds"])
      .default("none")
      .describe("listen_fds: it is handed its listener, as systemd does it, and needs no port of its own"),
  })
  .describe("The local program to wake");

const limit = (unit: "number" | "size"): z.ZodType<ProgramLimit | undefined> =>
  z
    .union([z.string(), z.number()])
    .transform(String)
    .transform(reading((text: string) => parseLimit(text, unit)))
    .optional();

const limits: z.ZodType<ProgramLimits> = z.strictObject({
  nofile: limit(limitUnits.nofile).describe("Open files"),
  as: limit(limitUnits.as).describe("Address space"),
  cpu: limit(limitUnits.cpu).describe("Seconds of processor time"),
  data: limit(limitUnits.data).describe("Data segment"),
  stack: limit(limitUnits.stack).describe("Stack"),
  rss: limit(limitUnits.rss).describe("Memory in use; Linux does not enforce it"),
  core: limit(limitUnits.core).describe("Core dump"),
});

export const inetdTarget: z.ZodType<ParsedInetd> = z
  .strictObject({
    command: command('["/usr/sbin/vsftpd", "/etc/vsftpd.conf"]'),
    argv0: z.string().min(1).optional().describe("How the program is told that it is called; default: by its path"),
    user: account.optional().describe("Runs as this user (name or number)"),
    group: account.optional().describe("Runs as this group (name or number); default: the user's own"),
    groups: z
      .union([z.enum(["none", "init"]), z.array(account)])
      .optional()
      .describe("Supplementary groups: none, those that the user is a member of (init), or a list"),
    env: environment.describe("Its environment, besides PATH, LANG, TZ and HOME, and who its client is"),
    cwd: z.string().min(1).optional().describe("Its working directory"),
    umask: z
      .string({
        error: ({ input }) =>
          `a umask is octal, in quotes: "${/^[0-7]{2,3}$/.test(String(input)) && input !== 23 ? String(input).padStart(3, "0") : "027"}"`,
      })
      .transform(reading(parseUmask))
      .optional()
      .describe('Which rights new files do not have, in octal: "027"'),
    nice: z.int().min(-20).max(19).optional().describe("Added to wakeport's own: the higher, the less it gets"),
    rlimits: limits.optional().describe('A number or a size ("512m"), "unlimited", or two of them, "soft:hard"'),
    stderr: z
      .enum(["log", "socket"])
      .default("log")
      .describe("Where what it complains of goes: the log, or its client"),
    wait: z
      .boolean()
      .default(false)
      .describe("true: the listening socket is handed over, to one program that serves all clients until it ends"),
  })
  .describe("The local program that is started for each client, with the connection as its stdin and stdout");

export const forwardTarget: z.ZodType<{ readonly host: string; readonly port: number }> = address.describe(
  "Where clients are passed on to, host:port; a name is looked up for each of them",
);

export const builtinTarget: z.ZodType<BuiltinName> = z
  .enum(builtinNames)
  .describe("A small service of wakeport itself, for tests");

export const sensorTarget: z.ZodType<{ readonly ban: number }> = z
  .strictObject({
    ban: duration.refine((ms) => ms > 0, "a ban lasts longer than that").describe("For how long"),
  })
  .describe("A tripwire: whoever connects may use no service for a time");
