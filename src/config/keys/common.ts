/** Schemas that several keys share. */
import { z } from "zod";
import { parseHostPort } from "../values/ports.ts";
import { parseDuration, parseSize, UnitError } from "../values/units.ts";

/** Makes a step of a schema from a parser that throws UnitError. */
export function parsedBy<From, To>(parse: (value: From) => To) {
  return (value: From, context: z.RefinementCtx): To => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof UnitError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
      return z.NEVER;
    }
  };
}

type Present<T> = { [Name in keyof T as undefined extends T[Name] ? never : Name]: T[Name] } & {
  [Name in keyof T as undefined extends T[Name] ? Name : never]?: Exclude<T[Name], undefined>;
};

/** Returns the object without its undefined values. */
export function present<T extends object>(object: T): Present<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Present<T>;
}

/** A value that is text for its parser, and that YAML may read as a number. */
export function numberOrText<To>(parse: (text: string) => To) {
  return z
    .union([z.number(), z.string()])
    .transform((value) => String(value))
    .transform(parsedBy(parse));
}

/** A value, or a list of values. The result is a list. */
export function oneOrMore<Schema extends z.ZodType>(schema: Schema) {
  return z.union([schema.transform((value) => [value]), z.array(schema).min(1)]);
}

export const duration = z
  .string({
    error: ({ input }) => (typeof input === "number" ? `a duration has a unit: write "${input}s"` : undefined),
  })
  .transform(parsedBy(parseDuration))
  .meta({ title: "duration", examples: ["500ms", "90s", "5m", "1h30m"] });

export const size = numberOrText(parseSize).meta({ title: "size", examples: ["64k", "512m", "1.5g"] });

export const address = z
  .string({
    error: ({ input }) =>
      typeof input === "number" ? `an address has a host and a port: write "127.0.0.1:${input}"` : undefined,
  })
  .transform(parsedBy(parseHostPort))
  .meta({ title: "host:port", examples: ["127.0.0.1:9000"] });

/** Names that are safe in a URL of the Docker API. */
export const dockerName = z
  .string()
  .regex(
    /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/,
    "a name has letters, digits, dots, dashes and underscores, and starts with a letter or digit",
  );

/** A mapping from names to text. */
export const texts = z.record(z.string().min(1), z.union([z.string(), z.number(), z.boolean()]).transform(String));

/** A user or group, by name or number. */
export const account = z.union([z.string().min(1), z.int().min(0)]);

/** A program with its arguments. @param example a valid list, for the error message */
export function command(example: string) {
  return z.tuple([z.string().min(1)], z.string(), {
    error: () => `the command is a list: ${example}; there is no shell`,
  });
}
