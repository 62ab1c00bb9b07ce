/** Values of `container: { image: … }`, as compose writes them. */
import { parseSize, UnitError } from "./units.ts";

/** Host and port, path in small letters, tag, digest. */
const IMAGE =
  /^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?\/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*(?<version>:\w[\w.-]{0,127})?(?<digest>@sha256:[0-9a-f]{64})?$/;

/** The least that the engine takes. */
const MIN_MEMORY = 6 * 1024 * 1024;

const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const VOLUME_OPTIONS: ReadonlySet<string> = new Set(
  ["ro", "rw", "z", "Z", "nocopy"].concat(["shared", "slave", "private"].flatMap((way) => [way, `r${way}`])),
);

/** Labels by which wakeport knows what it made, and the one that would make a second service of it. */
const OWN_LABELS: ReadonlySet<string> = new Set(
  ["created", "owner", "service", "spec", "enable"].map((name) => `wakeport.${name}`),
);

/**
 * Reads an image's name.
 *
 * @returns it with its tag: without one the engine would pull all that there are
 * @throws UnitError
 */
export function parseImage(text: string): string {
  const groups = IMAGE.exec(text)?.groups;
  if (groups === undefined) {
    throw new UnitError(`"${text}" is no image's name: write it like "nginx:1.27" or "registry.example/team/web:2"`);
  }
  return groups["version"] === undefined && groups["digest"] === undefined ? `${text}:latest` : text;
}

/** Checks a volume in compose's short form. @returns it as it is @throws UnitError */
export function parseVolume(text: string): string {
  const [source = "", target, options = "", ...more] = text.split(":");
  if (/^(?:\.|~)/.test(source)) {
    throw new UnitError(`"${text}" is relative: the engine takes whole paths of its own machine, like "/srv/web:/web"`);
  }
  const inside = target ?? source;
  const isNamed = source.startsWith("/") || VOLUME_NAME.test(source);
  if (more.length > 0 || !inside.startsWith("/") || inside === "/" || !isNamed) {
    throw new UnitError(`"${text}" is no volume: write it like "/srv/web:/web:ro" or "data:/var/lib/data"`);
  }
  const unknown = options.split(",").find((option) => option !== "" && !VOLUME_OPTIONS.has(option));
  if (unknown !== undefined) {
    throw new UnitError(`"${text}": "${unknown}" is no option of a volume: ${[...VOLUME_OPTIONS].join(", ")}`);
  }
  return text;
}

/** Reads a limit of memory. @returns bytes @throws UnitError */
export function parseMemory(text: string): number {
  const bytes = parseSize(text);
  if (bytes < MIN_MEMORY) throw new UnitError(`"${text}" is too little: the engine takes 6m at least`);
  return bytes;
}

/** Checks labels. @returns them as they are @throws UnitError */
export function parseLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const own = Object.keys(labels).find((label) => OWN_LABELS.has(label));
  if (own !== undefined) throw new UnitError(`"${own}" is not to be set on a container that wakeport creates`);
  return labels;
}
