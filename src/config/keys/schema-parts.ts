/** What many keys of wakeport.yaml are made of. */
import { z } from "zod";
import type { NameKind } from "../../net/hostname.ts";
import { parseName } from "../values/host-patterns.ts";
import {
  type PortMapping,
  type PortRange,
  parseDataPort,
  parseHostPort,
  parsePort,
  parsePortRange,
} from "../values/ports.ts";
import { parseDuration, UnitError } from "../values/units.ts";

/** Turns a parser that throws UnitError into a step of the schema. */
export function reading<From, T>(parse: (value: From) => T): (value: From, context: z.RefinementCtx) => T {
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

export const duration: z.ZodType<number> = z
  .string({
    error: ({ input }) => (typeof input === "number" ? `a duration has a unit: write "${input}s"` : undefined),
  })
  .transform(reading(parseDuration))
  .meta({ examples: ["500ms", "90s", "5m", "1h30m"] });

export const address: z.ZodType<{ readonly host: string; readonly port: number }> = z
  .string({
    error: ({ input }) =>
      typeof input === "number" ? `an address has a host and a port: write "127.0.0.1:${input}"` : undefined,
  })
  .transform(reading(parseHostPort));

export const port: z.ZodType<PortMapping> = z
  .union([z.number(), z.string()])
  .transform((value) => String(value))
  .transform(reading(parsePort));

export const dataPort: z.ZodType<PortMapping> = z
  .union([z.number(), z.string()])
  .transform((value) => String(value))
  .transform(reading(parseDataPort));

const portRange = z
  .union([z.number(), z.string()])
  .transform((value) => String(value))
  .transform(reading(parsePortRange));

/** One range of ports or several. */
export const portRanges: z.ZodType<readonly PortRange[]> = z.union([
  portRange.transform((one) => [one]),
  z.array(portRange),
]);

/** Names as Docker has them, so that none can mean anything else within an address of its API. */
export const dockerName: z.ZodType<string> = z
  .string()
  .regex(
    /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/,
    "a name has letters, digits, dots, dashes and underscores, and starts with a letter or digit",
  );

/** Names with values that are text. */
export const texts: z.ZodType<Readonly<Record<string, string>>> = z.record(
  z.string().min(1),
  z.union([z.string(), z.number(), z.boolean()]).transform(String),
);

export const environment: z.ZodType<Readonly<Record<string, string>>> = texts.default({});

export const account: z.ZodType<string | number> = z.union([z.string().min(1), z.int().min(0)]);

/** One name or several. */
export function names(kind: NameKind): z.ZodType<readonly string[]> {
  const name = z.string().transform(reading((text: string) => parseName(text, kind)));
  return z.union([name.transform((one) => [one]), z.array(name).min(1)]);
}
