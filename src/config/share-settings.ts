import type { Config } from "./config.ts";

/**
 * Replaces equal settings of services by one object, because most services have the same. `v8.serialize()` writes each object
 * once, so the program that reads the result has one object as well.
 */
export function shareSettings(config: Config): Config {
  const known = new Map<string, unknown>();
  const shared = (name: string, value: unknown): unknown => {
    if (typeof value !== "object") return value;
    // The values are those of YAML and buffers, which JSON distinguishes within one setting.
    const key = `${name} ${JSON.stringify(value)}`;
    if (!known.has(key)) known.set(key, value);
    return known.get(key);
  };
  const services = config.services.map((service) => {
    const settings = Object.entries(service).map(([name, value]) => [name, shared(name, value)]);
    return Object.fromEntries(settings) as typeof service;
  });
  return { ...config, services };
}
