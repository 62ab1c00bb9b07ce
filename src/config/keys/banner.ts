/** Texts that clients receive from wakeport itself. */
import path from "node:path";
import { z } from "zod";
import type { Banners } from "../config.ts";
import { MAX_BANNER, readBanner } from "../values/banner-file.ts";
import { UnitError } from "../values/units.ts";
import type { Path } from "../yaml/config-error.ts";
import { parsedBy } from "./common.ts";
import { type Context, forClients, key, section, type Written } from "./key.ts";

const text = z.string().min(1).transform(parsedBy(checkText));
const banner = z.union([text, z.strictObject({ file: z.string().min(1).describe("A file that contains the text") })]);

const bannerSection = {
  connect: key(banner, { description: "Sent first, to every client" }),
  accept: key(banner, { description: "Sent to accepted clients, before the target is started" }),
  deny: key(banner, { description: "Sent to rejected clients" }),
};
type WrittenBanners = Written<typeof bannerSection>;

export const bannerKeys = {
  banner: key(section(bannerSection), {
    description: "Texts for clients, or files that contain them: { file: … }",
    ...forClients,
  }),
};

function checkText(content: string): string {
  if (/^\.{0,2}\/\S+$/.test(content))
    throw new UnitError(`"${content}" is a text here: for that file write { file: ${content} }`);
  if (Buffer.byteLength(content) > MAX_BANNER) throw new UnitError(`longer than ${MAX_BANNER} bytes`);
  return content;
}

export function resolveBanner(context: Context<typeof bannerKeys>) {
  const { own, defaultBanners, source, report } = context;
  const read = readBanners(own.banner, source, (at, message) => report(message, { at: ["banner", ...at] }));
  return { banner: { ...defaultBanners, ...read } };
}

/**
 * Reads the banners of one section.
 *
 * @param source the name of the configuration: file names are relative to its folder
 */
export function readBanners(
  banners: WrittenBanners = {},
  source: string,
  report: (at: Path, message: string) => void,
): Banners {
  const read = Object.entries(banners).flatMap(([moment, value]) => {
    if (value === undefined) return [];
    if (typeof value === "string") return [[moment, Buffer.from(value)] as const];
    try {
      return [[moment, readBanner(path.resolve(path.dirname(source), value.file))] as const];
    } catch (error) {
      if (!(error instanceof UnitError)) throw error;
      report([moment, "file"], `banner: ${error.message}`);
      return [];
    }
  });
  return Object.fromEntries(read);
}

/** Returns the names of the banners that are files. */
export function fileBanners(banners: WrittenBanners = {}): string[] {
  return Object.entries(banners).flatMap(([moment, value]) => (typeof value === "object" ? [moment] : []));
}
