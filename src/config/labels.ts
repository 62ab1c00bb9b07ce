/** Reads a service from labels of its container: keys of wakeport.yaml, nested with dots (`wakeport.limits.rate`). */
import { parseDocument } from "yaml";
import { printable } from "../net/escape.ts";
import type { Config, ContainerReference, Service, WokenService } from "./config.ts";
import { fileBanners } from "./keys/banner.ts";
import { serviceKeys } from "./keys/service-keys.ts";
import { ENABLE_LABEL, LABEL_PREFIX } from "./label-names.ts";
import { resolve } from "./resolve.ts";
import { configSchema } from "./schema.ts";
import type { Located } from "./yaml/config-error.ts";
import { replacementOf } from "./yaml/foreign-keys.ts";
import { explain } from "./yaml/schema-errors.ts";
import { suggest } from "./yaml/suggest.ts";

/** Limit of a label value, in characters. */
const MAX_VALUE = 4 * 1024;
/** Keys that labels may set. */
const known: ReadonlySet<string> = new Set([
  "enable",
  "name",
  ...Object.entries(serviceKeys).flatMap(([name, { label }]) => (label === true ? [name] : [])),
]);
/** Limits in characters for a label's name or value in a problem, and for a problem. */
const MAX_QUOTE = 80;
const MAX_PROBLEM = 500;
/** Limit of the problems that are reported for one container. */
const MAX_PROBLEMS = 10;
/** Limit of the memory for all UDP flows of one container, in bytes. */
const MAX_HELD = 128 * 1024 ** 2;
/** Keys whose values may be lists with commas. YAML would read `21:21` as a number, and `*` as an alias. */
const lists: ReadonlySet<string> = new Set(["ports", "data", "host", "sni"]);
/** Brackets around a list, but not around an IPv6 address: `[::1]:8080`. */
const YAML_LIST = /^\s*\[(?![\da-f:.%]*\]:)/i;
/** Labels below this key contain text, including spaces at the end. */
const BANNER = "banner";
const text: ReadonlySet<string> = new Set(["name", "network", "group"]);

export interface LabelledContainer {
  readonly reference: ContainerReference;
  /** The name of the service if `wakeport.name` is absent. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A service, or all problems, each with its label. */
export type LabelledService = { readonly service: WokenService } | { readonly problems: readonly string[] };

/** Returns undefined if the container is not enabled for wakeport. Throws nothing. */
export function serviceOfLabels(container: LabelledContainer, config: Config): LabelledService | undefined {
  const own = Object.entries(container.labels).filter(([label]) => label.startsWith(LABEL_PREFIX));
  const enable = container.labels[ENABLE_LABEL]?.trim().toLowerCase();
  if (enable === undefined || enable === "false") return undefined;
  if (enable !== "true") return { problems: [`label ${ENABLE_LABEL} is ${quoted(enable)}: expected true or false`] };
  const problems: string[] = [];
  const raw: Record<string, unknown> = {};
  for (const [label, value] of own) {
    const path = label.slice(LABEL_PREFIX.length).split(".");
    const [key = ""] = path;
    const problem = known.has(key) ? setValue(raw, path, value) : unknownLabel(label, key);
    if (problem !== undefined) problems.push(problem);
  }
  const result = problems.length > 0 ? { problems } : resolveLabels(container, raw, config);
  return "problems" in result ? { problems: firstOf(result.problems) } : result;
}

function firstOf(problems: readonly string[]): readonly string[] {
  const more = problems.length - MAX_PROBLEMS;
  const first = problems.slice(0, MAX_PROBLEMS).map((problem) => printable(cut(problem, MAX_PROBLEM)));
  return more > 0 ? [...first, `and ${more} more problems in its labels`] : first;
}

function resolveLabels(
  { reference, name }: LabelledContainer,
  raw: Record<string, unknown>,
  config: Config,
): LabelledService {
  const { enable: _enable, name: ownName = name, ...settings } = raw;
  const serviceName = String(ownName);
  const container = "name" in reference ? reference.name : reference;
  const value = {
    defaults: withoutBanner(config.discover?.defaults ?? {}),
    services: { [serviceName]: { ...settings, container } },
  };
  const parsed = configSchema.safeParse(value);
  if (!parsed.success) {
    const located = parsed.error.issues.flatMap((issue) => explain(issue, value));
    return { problems: located.map((problem) => describeProblem(problem, serviceName)) };
  }
  const files = fileBanners(parsed.data.services[serviceName]?.banner);
  if (files.length > 0) return { problems: files.map(fileBannerProblem) };
  const { config: resolved, problems } = resolve(parsed.data, "labels", { adminListen: config.admin, hasOthers: true });
  if (problems.length > 0) return { problems: problems.map((problem) => describeProblem(problem, serviceName)) };
  // The target is the container with the labels.
  const service = resolved.services[0] as WokenService;
  const problem = restrictionOf(service, config);
  if (problem !== undefined) return { problems: [problem] };
  const banner = { ...config.discover?.banner, ...service.banner };
  const target = service.target.kind === "container" ? { ...service.target, byLabels: true as const } : service.target;
  return { service: { ...service, target, banner, ...groupOf(service, reference) } };
}

/** A container must not make wakeport send files of the host. */
function fileBannerProblem(moment: string): string {
  return `label ${LABEL_PREFIX}${BANNER}.${moment}: files are allowed only in wakeport.yaml: write the text itself`;
}

/** Returns why labels may not define the service although wakeport.yaml may, or undefined. */
function restrictionOf({ ready, udp: { flows, heldBytes } }: Service, { discover }: Config): string | undefined {
  // A regular expression of another project could block the whole program.
  if (discover?.scope === "all" && ready.some(({ kind }) => kind === "log"))
    return `label ${LABEL_PREFIX}ready: log patterns are allowed only in wakeport.yaml and in wakeport's own compose project: use another probe`;
  if (flows * heldBytes > MAX_HELD)
    return `label ${LABEL_PREFIX}udp: flows × held must not exceed ${MAX_HELD} bytes for one container`;
  return undefined;
}

/** The banners of `defaults` are already read. */
function withoutBanner(defaults: unknown): unknown {
  if (typeof defaults !== "object" || defaults === null || !("banner" in defaults)) return defaults;
  const { banner: _banner, ...others } = defaults;
  return others;
}

/** A group in labels belongs to the project of the container, and never equals a group of the file. */
function groupOf({ group }: Service, reference: ContainerReference): Pick<Service, "group"> {
  if (group === undefined) return {};
  return { group: `labels ${"service" in reference ? (reference.project ?? "") : ""}/${group}` };
}

/** Returns a problem with the value, or undefined. */
function setValue(into: Record<string, unknown>, path: readonly string[], value: string): string | undefined {
  const label = printableLabel(`${LABEL_PREFIX}${path.join(".")}`);
  if (value.length > MAX_VALUE) return `label ${label} is longer than ${MAX_VALUE} characters`;
  const parsed = parseValue(path, value);
  if (parsed === undefined) return `label ${label} is ${quoted(value)}, which is not valid YAML`;
  let place = into;
  for (const part of path.slice(0, -1)) {
    const inner = Object.hasOwn(place, part) ? place[part] : {};
    if (typeof inner !== "object" || inner === null || Array.isArray(inner))
      return `label ${label} and ${LABEL_PREFIX}${path[0]} exclude each other`;
    define(place, part, inner);
    place = inner as Record<string, unknown>;
  }
  const last = path.at(-1) ?? "";
  if (Object.hasOwn(place, last)) return `label ${label} is set twice, or is also part of another label`;
  define(place, last, parsed.value);
  return undefined;
}

/** Safe for the label `wakeport.limits.__proto__`. */
function define(place: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(place, key, { value, enumerable: true, configurable: true, writable: true });
}

/** Parses YAML: `{http: /health}`, `[tcp, healthy]`. Ports and names may be a list with commas. */
function parseValue(path: readonly string[], value: string): { readonly value: unknown } | undefined {
  const [key = ""] = path;
  if (key === BANNER && path.length > 1) return { value };
  if (text.has(key)) return { value: value.trim() };
  if (lists.has(key) && !YAML_LIST.test(value)) return { value: value.split(",").map((one) => one.trim()) };
  const document = parseDocument(value, { resolveKnownTags: false, stringKeys: true, prettyErrors: false });
  if (document.errors.length > 0) return undefined;
  try {
    return { value: document.toJS({ maxAliasCount: 0 }) };
  } catch {
    return undefined;
  }
}

function unknownLabel(label: string, key: string): string {
  return `unknown label ${printableLabel(label)}: ${hintForLabel(key)}`;
}

function hintForLabel(key: string): string {
  const replacement = replacementOf(key);
  if (replacement !== undefined && known.has(replacement.split(":")[0] ?? ""))
    return `use ${LABEL_PREFIX}${replacement}`;
  const near = suggest(key, known);
  if (near !== undefined) return `did you mean ${LABEL_PREFIX}${near}?`;
  if (Object.hasOwn(serviceKeys, key)) return `labels cannot set "${key}": set it in wakeport.yaml`;
  return `known labels: ${[...known].join(", ")}`;
}

function describeProblem({ path, message, hint }: Located, service: string): string {
  const [section, name, ...rest] = path;
  const keys = rest.filter((part) => typeof part === "string");
  const label =
    section === "services" && name === service && keys.length > 0
      ? `label ${printableLabel(`${LABEL_PREFIX}${keys.join(".")}`)}: `
      : "";
  return `${label}${message}${hint === undefined ? "" : ` (${hint})`}`;
}

function quoted(value: string): string {
  return JSON.stringify(cut(value));
}

/** Names of labels are untrusted text. */
function printableLabel(label: string): string {
  return printable(cut(label));
}

function cut(text: string, limit: number = MAX_QUOTE): string {
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}
