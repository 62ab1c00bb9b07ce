/** The shapes of what a service leads to. */
import { z } from "zod";
import { type BuiltinName, builtinNames } from "./config.ts";
import { parseImage, parseLabels, parseMemory, parseVolume } from "./created.ts";
import { account, address, dockerName, environment, reading } from "./schema-parts.ts";

/** The keys of a service of which it has exactly one. */
export const targetKinds = ["container", "process", "forward", "builtin"] as const;
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

export const processTarget: z.ZodType<ParsedProcess> = z
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

export const forwardTarget: z.ZodType<{ readonly host: string; readonly port: number }> = address.describe(
  "Where clients are passed on to, host:port; a name is looked up for each of them",
);

export const builtinTarget: z.ZodType<BuiltinName> = z
  .enum(builtinNames)
  .describe("A small service of wakeport itself, for tests");
