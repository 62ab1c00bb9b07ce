/** The target `container`: an existing container, or one made by wakeport from an image. */
import { z } from "zod";
import type { TargetSpec } from "../config.ts";
import { parseImage, parseLabels, parseMemory, parseVolume } from "../values/container-options.ts";
import { account, command, dockerName, numberOrText, parsedBy, present, texts } from "./common.ts";

const created = z.strictObject({
  image: z.string().transform(parsedBy(parseImage)).describe("The image; pulled if it is missing"),
  command: command('["nginx", "-g", "daemon off;"]')
    .optional()
    .describe("Replaces the command of the image, but not its entrypoint"),
  env: texts.default({}).describe("Environment variables in addition to those of the image"),
  volumes: z
    .array(z.string().transform(parsedBy(parseVolume)))
    .default([])
    .describe("Volumes as in compose: /path/on/host:/path[:ro], or volume:/path"),
  networks: z
    .array(dockerName)
    .default([])
    .describe("Networks, by name; default: the one of wakeport, or on the host the default network of Docker"),
  user: account.optional().describe("User in the image, or user:group"),
  memory: numberOrText(parseMemory).meta({ title: "size" }).optional().describe("Memory limit: 512m, 1.5g"),
  cpus: z.number().min(0.01).max(10_000).optional().describe("CPU limit: 1.5"),
  labels: texts.default({}).transform(parsedBy(parseLabels)).describe("Labels in addition to those of wakeport"),
  remove: z.boolean().default(false).describe("Whether the container and its data are removed when it is stopped"),
});
type Created = z.output<typeof created>;

export const container = z.union([
  dockerName.describe("The name of the container"),
  z.strictObject({
    service: dockerName.describe("A service of a compose project"),
    project: dockerName.optional().describe("The compose project; default: that of wakeport, or docker.project"),
  }),
  created,
]);

export function containerTarget(name: string, value: z.output<typeof container>, network: string): TargetSpec {
  if (typeof value === "string") return { kind: "container", reference: { name: value }, network };
  if ("image" in value) return createdTarget(name, value, network);
  return { kind: "container", reference: present(value), network };
}

function createdTarget(service: string, value: Created, network: string): TargetSpec {
  const { user, memory: memoryBytes, ...rest } = value;
  const options = present({ ...rest, memoryBytes, user: user === undefined ? undefined : String(user) });
  return { kind: "created", service, network, ...options };
}
