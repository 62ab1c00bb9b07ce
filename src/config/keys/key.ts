/** Defines keys of wakeport.yaml: shape, default, description, and the services that may set them. */
import { z } from "zod";
import type { Banners, ProtocolName, TargetSpec } from "../config.ts";
import type { PortMapping } from "../values/ports.ts";
import type { Path, Report } from "../yaml/config-error.ts";

/** The keys of a service that define its target. A service has exactly one. */
export const targetKinds = ["container", "process", "inetd", "forward", "builtin", "sensor"] as const;
export type TargetKind = (typeof targetKinds)[number];

/** Targets that wakeport starts and stops. */
export const startedKinds: readonly TargetKind[] = ["container", "process"];

export interface Rules {
  readonly description: string;
  /** Targets for which the key has an effect. Absent: all. */
  readonly targets?: readonly TargetKind[];
  /** Ports that a service must have for the key to have an effect. Absent: none. */
  readonly needs?: "ports" | "tcp" | "udp";
  /** Whether labels of a container may set the key. */
  readonly label?: boolean;
}

/** Keys about the start and stop of a target. */
export const started = { targets: startedKinds, label: true } satisfies Partial<Rules>;
/** Keys about clients. */
export const forClients = { needs: "ports", label: true } satisfies Partial<Rules>;

export interface Key<Schema extends z.ZodType = z.ZodType, Default = unknown> extends Rules {
  readonly schema: Schema;
  /** The default as it is written in the file. Undefined: no default. */
  readonly default: Default;
}

export type Keys = Readonly<Record<string, Key>>;

/** Returns a key with a default: `effective` always returns a value for it. */
export function key<Schema extends z.ZodType>(
  schema: Schema,
  rules: Rules & { readonly default: z.input<Schema> },
): Key<Schema, z.input<Schema>>;
/** Returns a key without a default. */
export function key<Schema extends z.ZodType>(schema: Schema, rules: Rules): Key<Schema, undefined>;
export function key(schema: z.ZodType, rules: Rules): Key {
  return { default: undefined, ...rules, schema };
}

/** The values of keys that a mapping in the file sets. */
export type Written<K extends Keys> = {
  readonly [Name in keyof K]?: z.output<K[Name]["schema"]> | undefined;
};

type Effective<K extends Keys> = {
  readonly [Name in keyof K]: z.output<K[Name]["schema"]> | (undefined extends K[Name]["default"] ? undefined : never);
};

/** Returns the value of each key: from the first mapping that sets it, else its default. */
export function effective<K extends Keys>(keys: K, ...mappings: (Written<K> | undefined)[]): Effective<K> {
  const values = Object.entries(keys).map(([name, { schema, default: fallback }]) => {
    const written = mappings.find((mapping) => mapping?.[name] !== undefined)?.[name];
    return [name, written ?? (fallback === undefined ? undefined : schema.parse(fallback))];
  });
  return Object.fromEntries(values) as Effective<K>;
}

type Shape<K extends Keys> = { readonly [Name in keyof K]: z.ZodOptional<K[Name]["schema"]> };

/** Returns the schema of a mapping with these keys, all optional. */
export function section<K extends Keys>(keys: K): z.ZodObject<Shape<K>, z.core.$strict> {
  const shape = Object.entries(keys).map(([name, { schema, description, default: fallback }]) => {
    return [name, schema.optional().meta({ description, ...(fallback !== undefined && { default: fallback }) })];
  });
  return z.strictObject(Object.fromEntries(shape) as Shape<K>);
}

/** Input for the resolution of a key, before the target is known. */
export interface UntargetedContext<K extends Keys = Keys> {
  /** The name of the service. */
  readonly name: string;
  /** The keys of the service. */
  readonly own: Written<K>;
  /** The section `defaults`. */
  readonly defaults: Written<K>;
  /** The banners of `defaults`, which are read once for all services. */
  readonly defaultBanners: Banners;
  /** The name of the file. */
  readonly source: string;
  readonly ports: readonly PortMapping[];
  readonly report: ServiceReport;
}

/** Input for the resolution of a key. */
export interface Context<K extends Keys = Keys> extends UntargetedContext<K> {
  readonly target: TargetSpec;
  readonly protocol: ProtocolName;
}

/** Reports a problem of a service. The message completes `service "NAME": …`. */
export type ServiceReport = (message: string, place?: ProblemPlace) => void;

export interface ProblemPlace {
  /** The path from the service to the value. */
  readonly at?: Path;
  /** The key, if the problem is the key itself and not its value. */
  readonly key?: string;
  readonly hint?: string;
}

export function reportFor(name: string, report: Report): ServiceReport {
  return (message, { at = [], ...place } = {}) =>
    report({ path: ["services", name, ...at], message: `service "${name}": ${message}`, ...place });
}
