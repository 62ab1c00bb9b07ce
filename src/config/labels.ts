/** A service as the labels of its container have it: the words of wakeport.yaml, with dots where that nests. */
import { parseDocument } from "yaml";
import { printable } from "../net/escape.ts";
import type { Config, ContainerReference, Service, WokenService } from "./config.ts";
import type { ParsedBanners } from "./keys/schema-admission.ts";
import { resolve } from "./resolve.ts";
import { configSchema } from "./schema.ts";
import { explain, type Located } from "./yaml/schema-errors.ts";
import { suggest } from "./yaml/suggest.ts";

export const LABEL_PREFIX = "wakeport.";
/** Containers that carry it are looked at. */
export const ENABLE_LABEL: string = `${LABEL_PREFIX}enable`;

/** Longer than anything that a label may say here. */
const MAX_VALUE = 4 * 1024;
/** What a container may say of itself. What else it is made of, or depends on, is not for its labels to decide. */
const known: ReadonlySet<string> = new Set([
  "enable",
  "name",
  "ports",
  "data",
  "network",
  "ready",
  "idle_timeout",
  "sleep",
  "min_uptime",
  "direct_traffic",
  "start_timeout",
  "stop_grace",
  "release_pace",
  "protocol",
  "hold",
  "proxy_protocol",
  "host",
  "sni",
  "wake_on",
  "ftp",
  "access",
  "limits",
  "banner",
  "on_deny",
  "monitors",
  "udp",
  "group",
]);
/** Limits in characters for a label's name or value in a problem, and for a problem. */
const MAX_QUOTE = 80;
const MAX_PROBLEM = 500;
/** Most problems that are reported for one container. */
const MAX_PROBLEMS = 10;
/** What the flows of one container may hold in all, in bytes: the memory is everybody's. */
const MAX_HELD = 128 * 1024 ** 2;
/** Their values may be lists with commas. Of a port YAML would make something else, and of a `*` nothing at all. */
const lists: ReadonlySet<string> = new Set(["ports", "data", "host", "sni"]);
/** Brackets around a list, but not around an IPv6 address: `[::1]:8080`. */
const YAML_LIST = /^\s*\[(?![\da-f:.%]*\]:)/i;
/** What stands below it is text, to the last blank. */
const BANNER = "banner";
const text: ReadonlySet<string> = new Set(["name", "network", "group"]);

export interface LabelledContainer {
  readonly reference: ContainerReference;
  /** For a service that has no `wakeport.name`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Either a service, or every reason why there is none, each with the label that it is about. */
export type LabelledService = { readonly service: WokenService } | { readonly problems: readonly string[] };

/** Reads the labels of a container; undefined when it does not want to be a service. Throws nothing. */
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
    const fault = known.has(key) ? put(raw, path, value) : unknownLabel(label, key);
    if (fault !== undefined) problems.push(fault);
  }
  const read = problems.length > 0 ? { problems } : shaped(container, raw, config);
  return "problems" in read ? { problems: firstOf(read.problems) } : read;
}

function firstOf(problems: readonly string[]): readonly string[] {
  const more = problems.length - MAX_PROBLEMS;
  const first = problems.slice(0, MAX_PROBLEMS).map((problem) => printable(cut(problem, MAX_PROBLEM)));
  return more > 0 ? [...first, `and ${more} more problems with its labels`] : first;
}

function shaped({ reference, name }: LabelledContainer, raw: Record<string, unknown>, config: Config): LabelledService {
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
    return { problems: located.map((problem) => inWords(problem, serviceName)) };
  }
  const files = fileLabels(parsed.data.services[serviceName]?.banner);
  if (files.length > 0) return { problems: files };
  const { config: resolved, problems } = resolve(parsed.data, "labels", { adminListen: config.admin, hasOthers: true });
  if (problems.length > 0) return { problems: problems.map((problem) => inWords(problem, serviceName)) };
  // Its target is the container that has the labels.
  const service = resolved.services[0] as WokenService;
  if (config.discover?.scope === "all" && service.ready.some(({ kind }) => kind === "log")) {
    // A pattern can keep the whole program busy; here it would be anybody's.
    const problem = `label ${LABEL_PREFIX}ready: patterns are for wakeport.yaml, or for labels of the own project`;
    return { problems: [problem] };
  }
  const { flows, heldBytes } = service.udp;
  if (flows * heldBytes > MAX_HELD) {
    const problem = `label ${LABEL_PREFIX}udp: of one container ${MAX_HELD} bytes may be held (flows × held), not more`;
    return { problems: [problem] };
  }
  const banner = { ...config.discover?.banner, ...service.banner };
  const target = service.target.kind === "container" ? { ...service.target, byLabels: true as const } : service.target;
  return { service: { ...service, target, banner, ...groupOf(service, reference) } };
}

/** The configuration's files are read with it, and what a container names would be read to whoever connects. */
function withoutBanner(defaults: unknown): unknown {
  if (typeof defaults !== "object" || defaults === null || !("banner" in defaults)) return defaults;
  const { banner: _banner, ...others } = defaults;
  return others;
}

/** A container must not have files of the host read to its clients. */
function fileLabels(banners: ParsedBanners = {}): string[] {
  return Object.entries(banners)
    .filter(([, banner]) => typeof banner === "object")
    .map(([moment]) => `label ${LABEL_PREFIX}${BANNER}.${moment}: files are for wakeport.yaml: write the text itself`);
}

/** What somebody's labels call a group is one of their own project, and never one of the file. */
function groupOf({ group }: Service, reference: ContainerReference): Pick<Service, "group"> {
  if (group === undefined) return {};
  return { group: `labels ${"service" in reference ? (reference.project ?? "") : ""}/${group}` };
}

/** @returns what is wrong with the value */
function put(into: Record<string, unknown>, path: readonly string[], value: string): string | undefined {
  const label = shown(`${LABEL_PREFIX}${path.join(".")}`);
  if (value.length > MAX_VALUE) return `label ${label} is longer than ${MAX_VALUE} characters`;
  const read = readValue(path, value);
  if (read === undefined) return `label ${label} is ${quoted(value)}, which cannot be read`;
  let place = into;
  for (const part of path.slice(0, -1)) {
    const inner = Object.hasOwn(place, part) ? place[part] : {};
    if (typeof inner !== "object" || inner === null || Array.isArray(inner))
      return `label ${label} and ${LABEL_PREFIX}${path[0]} exclude each other`;
    define(place, part, inner);
    place = inner as Record<string, unknown>;
  }
  const last = path.at(-1) ?? "";
  if (Object.hasOwn(place, last)) return `label ${label} is there twice, or together with one that it is part of`;
  define(place, last, read.value);
  return undefined;
}

/** A label may be called `wakeport.limits.__proto__`. */
function define(place: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(place, key, { value, enumerable: true, configurable: true, writable: true });
}

/** As in wakeport.yaml: `{http: /health}`, `[tcp, healthy]`. Ports and names may be a list with commas. */
function readValue(path: readonly string[], value: string): { readonly value: unknown } | undefined {
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
  const near = suggest(key, known);
  const hint = near === undefined ? `known are ${[...known].join(", ")}` : `did you mean ${LABEL_PREFIX}${near}?`;
  return `unknown label ${shown(label)}: ${hint}`;
}

function inWords({ path, message, hint }: Located, service: string): string {
  const [section, name, ...rest] = path;
  const words = rest.filter((part) => typeof part === "string");
  const label =
    section === "services" && name === service && words.length > 0
      ? `label ${shown(`${LABEL_PREFIX}${words.join(".")}`)}: `
      : "";
  return `${label}${message}${hint === undefined ? "" : ` (${hint})`}`;
}

function quoted(value: string): string {
  return JSON.stringify(cut(value));
}

/** Label names are untrusted text, as their values are. */
function shown(label: string): string {
  return printable(cut(label));
}

function cut(text: string, longest: number = MAX_QUOTE): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
