/** The shapes of the keys that say who may connect, and what clients are told. */
import { z } from "zod";
import type { Network } from "../../net/ip.ts";
import { type AccessTimes, parseTimes, parseTimeZone } from "../values/access-times.ts";
import { MAX_BANNER } from "../values/banner-file.ts";
import { parseNetwork } from "../values/networks.ts";
import { parseRate, type Rate } from "../values/rates.ts";
import { UnitError } from "../values/units.ts";
import { reading } from "./schema-parts.ts";

export interface ParsedAdmission {
  readonly access?: ParsedAccess | undefined;
  readonly limits?: ParsedLimits | undefined;
  readonly banner?: ParsedBanners | undefined;
  readonly on_deny?: "reset" | "close" | undefined;
  readonly monitors?: readonly Network[] | undefined;
}

export interface ParsedAccess {
  readonly allow?: readonly Network[] | undefined;
  readonly deny?: readonly Network[] | undefined;
  readonly times?: readonly AccessTimes[] | undefined;
  readonly timezone?: string | undefined;
}

export interface ParsedLimits {
  readonly connections?: number | undefined;
  readonly waiting?: number | undefined;
  readonly per_source?: number | undefined;
  readonly ipv6_prefix?: number | undefined;
  readonly rate?: Rate | undefined;
  readonly rate_per_source?: Rate | undefined;
  readonly max_load?: number | undefined;
  readonly on_limit?: "reject" | "queue" | undefined;
}

/** When clients are told something. */
export const bannerMoments = ["connect", "accept", "deny"] as const;
export type BannerMoment = (typeof bannerMoments)[number];
/** A text, or the name of a file that has it. */
export type ParsedBanner = string | { readonly file: string };
export type ParsedBanners = { readonly [Moment in BannerMoment]?: ParsedBanner | undefined };

const network = z.string().transform(reading(parseNetwork));
export const networks: z.ZodType<readonly Network[]> = z.union([network.transform((one) => [one]), z.array(network)]);
const openTimes = z.string().transform(reading(parseTimes));

const access = z.strictObject({
  allow: networks.optional().describe("Who may connect: addresses and networks; absent: everybody, empty: nobody"),
  deny: networks.optional().describe('Who may not, whatever "allow" says'),
  times: z
    .union([openTimes.transform((one) => [one]), z.array(openTimes).min(1)])
    .optional()
    .describe('When clients may connect: "mon-fri 08:00-20:00", "22:00-06:00", "sat,sun"; absent: always'),
  timezone: z
    .string()
    .transform(reading(parseTimeZone))
    .optional()
    .describe("Whose clock the times go by, like Europe/Berlin; default: the machine's"),
});

const most = z.int().min(1).max(1_000_000).optional();

const rate = z
  .string({
    error: ({ input }) => (typeof input === "number" ? `a rate has a unit: write "${input}/s"` : undefined),
  })
  .transform(reading(parseRate))
  .optional()
  .meta({ examples: ["50/s", "10/m", "100/h"] });

const limits = z.strictObject({
  connections: most.describe("How many connections at a time"),
  waiting: most.describe("How many clients may wait for the target, and how many for room"),
  per_source: most.describe("How many connections of one source at a time"),
  ipv6_prefix: z
    .int()
    .min(1)
    .max(128)
    .optional()
    .describe("How many bits of an IPv6 address tell a source; default: 64"),
  rate: rate.describe("How many connections in a time; one source gets half of it at most"),
  rate_per_source: rate.describe("How many connections of one source in a time"),
  max_load: z
    .number()
    .min(0.01)
    .max(1_000_000)
    .optional()
    .describe("The load of the machine over the last minute at which nobody is let in any more"),
  on_limit: z
    .enum(["reject", "queue"])
    .optional()
    .describe("What becomes of a client for whom there is no room: it is refused, or waits"),
});

const text = z
  .string()
  .min(1)
  .transform(
    reading((words: string) => {
      if (/^\.{0,2}\/\S+$/.test(words))
        throw new UnitError(`"${words}" is a text here; for that file write { file: ${words} }`);
      if (Buffer.byteLength(words) > MAX_BANNER) throw new UnitError(`longer than ${MAX_BANNER} bytes`);
      return words;
    }),
  );

const banner = z
  .union([text, z.strictObject({ file: z.string().min(1).describe("A file whose content it is") })])
  .optional();

const banners = z.strictObject({
  connect: banner.describe("What every client is told, before anything else"),
  accept: banner.describe("What a client is told that is let in, before its target is started"),
  deny: banner.describe("What a client is told that is refused"),
});

/** The keys that say who may connect, and what clients are told. */
export const admission: { readonly [Key in keyof ParsedAdmission]-?: z.ZodType<NonNullable<ParsedAdmission[Key]>> } = {
  access: access.describe("Who may connect, and when"),
  limits: limits.describe("How many may connect"),
  banner: banners.describe("What clients are told: text, or { file: … }"),
  on_deny: z.enum(["reset", "close"]).describe("How the connection of a client ends that is refused"),
  monitors: networks.describe(
    "Monitors: their connections are accepted and closed, and neither wake nor hold anything",
  ),
};
