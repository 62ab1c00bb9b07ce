/** The schema of wakeport.yaml, and the JSON Schema that editors use. Both come from the keys in keys/. */
import { z } from "zod";
import { section } from "./keys/key.ts";
import { adminKeys, dockerKeys, logKeys, shutdownKeys } from "./keys/sections.ts";
import { defaultsKeys, serviceKeys } from "./keys/service-keys.ts";

const serviceName = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, "a service's name has letters, digits, dots, dashes and underscores");

export const configSchema = z
  .strictObject({
    services: z.record(serviceName, section(serviceKeys)).default({}).describe("The services, by name"),
    defaults: section(defaultsKeys).default({}).describe("Settings of all services that do not set them themselves"),
    admin: section(adminKeys).default({}).describe("The admin server: metrics, health and status"),
    docker: section(dockerKeys).default({}).describe("The container engine"),
    log: section(logKeys).default({}).describe("The log"),
    shutdown: section(shutdownKeys).default({}).describe("What happens when wakeport shuts down"),
  })
  .describe("wakeport.yaml");

/** The content of a file after the schema: values parsed, durations in milliseconds, keys not yet compared. */
export type ParsedConfig = z.output<typeof configSchema>;
export type ParsedService = ParsedConfig["services"][string];

/** JSON Schema (draft-07) of wakeport.yaml. */
export function jsonSchema(): object {
  const schema = z.toJSONSchema(configSchema, {
    io: "input",
    target: "draft-7",
    // zod removes these from schemas with a transformation. Here they have the type of the input.
    override: ({ zodSchema, jsonSchema: target }) => {
      const { default: fallback, examples } = z.globalRegistry.get(zodSchema) ?? {};
      if (fallback !== undefined) target.default = fallback;
      if (Array.isArray(examples)) target.examples = examples;
    },
  });
  return { ...schema, title: "wakeport.yaml" };
}
