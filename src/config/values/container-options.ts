/** Values of `container: { image: … }`, in the syntax of compose. */
import { parseSize, UnitError } from "./units.ts";

/** Host and port, path in lower case, tag, digest. */
const IMAGE =
  /^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?\/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*(?<version>:\w[\w.-]{0,127})?(?<digest>@sha256:[0-9a-f]{64})?$/;

/** The minimum of Docker. */
const MIN_MEMORY = 6 * 1024 * 1024;

const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const VOLUME_OPTIONS: ReadonlySet<string> = new Set(
  ["ro", "rw", "z", "Z", "nocopy"].concat(["shared", "slave", "private"].flatMap((mode) => [mode, `r${mode}`])),
);

/** Labels by which wakeport finds its containers, and the label that would define a second service. */
const OWN_LABELS: ReadonlySet<string> = new Set(
  ["created", "owner", "service", "spec", "enable"].map((name) => `wakeport.${name}`),
);

/**
 * Parses the name of an image.
 *
 * @returns the name with its tag, because Docker pulls all tags without one
 * @throws UnitError
 */
export function parseImage(text: string): string {
  const groups = IMAGE.exec(text)?.groups;
  if (groups === undefined) {
    throw new UnitError(`"${text}" is not an image name: write it as "nginx:1.27" or "registry.example/team/web:2"`);
  }
  return groups["version"] === undefined && groups["digest"] === undefined ? `${text}:latest` : text;
}

/** Checks a volume in the short syntax of compose and returns it unchanged. @throws UnitError */
export function parseVolume(text: string): string {
  const [source = "", target, options = "", ...more] = text.split(":");
  if (/^(?:\.|~)/.test(source)) {
    throw new UnitError(
      `"${text}" is relative: write an absolute path on the host of Docker, for example "/srv/web:/web"`,
    );
  }
  const inside = target ?? source;
  const isNamed = source.startsWith("/") || VOLUME_NAME.test(source);
  if (more.length > 0 || !inside.startsWith("/") || inside === "/" || !isNamed) {
    throw new UnitError(`"${text}" is not a volume: write it as "/srv/web:/web:ro" or "data:/var/lib/data"`);
  }
  const unknown = options.split(",").find((option) => option !== "" && !VOLUME_OPTIONS.has(option));
  if (unknown !== undefined) {
    throw new UnitError(`"${text}": "${unknown}" is not an option of a volume: use ${[...VOLUME_OPTIONS].join(", ")}`);
  }
  return text;
}

/** Parses a memory limit. @returns bytes @throws UnitError */
export function parseMemory(text: string): number {
  const bytes = parseSize(text);
  if (bytes < MIN_MEMORY) throw new UnitError(`"${text}" is too small: the minimum of Docker is 6m`);
  return bytes;
}

/** Checks labels and returns them unchanged. @throws UnitError */
export function parseLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const own = Object.keys(labels).find((label) => OWN_LABELS.has(label));
  if (own !== undefined) throw new UnitError(`label "${own}" is reserved for wakeport: remove it`);
  return labels;
}
