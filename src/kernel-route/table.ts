/** Reads and changes wakeport's nftables table. The formats are those of nft(8) and libnftables-json(5). */
import { isIPv6 } from "node:net";
import { MARK_BASE, ruleset, TABLE } from "./ruleset.ts";
import type { Sources } from "./sources.ts";
import { runTool, ToolError } from "./tool.ts";

/** One rule: new connections of allowed sources to a port of this network namespace go to the target. */
export interface Element {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly mark: number;
  /** An IP address. Only clients of the same address family are forwarded. */
  readonly address: string;
  readonly targetPort: number;
  readonly sources: Sources;
}

/** What the kernel counted for one service since the table was loaded. Bytes include the IP headers. */
export interface Counters {
  /** From clients to the target. */
  readonly up: number;
  readonly down: number;
  /** New connections, and for UDP new flows. */
  readonly connections: number;
}

const directions = ["up", "down", "opened"] as const;
type Direction = (typeof directions)[number];

/**
 * Finds wakeport's table of an earlier run.
 *
 * @returns the marks of its services, or undefined if there is no table
 * @throws ToolError if nft fails, or another program owns a table with this name
 */
export async function readMarks(): Promise<ReadonlyMap<string, number> | undefined> {
  const tables = await list("tables");
  const isOurs = ({ family, name }: Record<string, unknown>): boolean => family === "inet" && name === TABLE;
  if (!objects(tables, "table").some(isOurs)) return undefined;
  const about = await list("chain", "inet", TABLE, "about").catch(() => "{}");
  const comments = objects(about, "rule").map(({ comment }) => String(comment));
  if (!comments.some((comment) => comment.startsWith("wakeport "))) {
    throw new ToolError(`nft: the table "inet ${TABLE}" belongs to another program`);
  }
  // The rules of another version may have other maps.
  const [map] = objects(await list("map", "inet", TABLE, "up").catch(() => ""), "map");
  const elements = (map?.["elem"] ?? []) as readonly (readonly [number, string])[];
  return new Map(elements.map(([mark, counter]) => [counter.slice("up-".length), mark]));
}

/** Replaces the table in one step by one without elements, or creates it. @throws ToolError */
export async function loadRuleset(): Promise<void> {
  await runTool("nft", ["-f", "-"], ruleset);
}

/** Creates the counters of services, each with its mark. @throws ToolError */
export async function addCounters(marks: Iterable<readonly [string, number]>): Promise<void> {
  const commands = [...marks].flatMap(([service, mark]) =>
    directions.flatMap((direction) => [
      `add counter inet ${TABLE} ${direction}-${service}`,
      `add element inet ${TABLE} ${direction} { ${mark} : "${direction}-${service}" }`,
    ]),
  );
  await change(commands);
}

/**
 * Replaces elements in one step.
 *
 * @param removed elements that are in the table: another one fails the whole change
 * @returns resolves when no packet on its way uses a removed element: nft waits for that
 * @throws ToolError; then nothing was changed
 */
export async function replaceElements(removed: readonly Element[], added: readonly Element[]): Promise<void> {
  const commands = [
    ...removed.flatMap((element) => commandsFor("delete", element)),
    ...added.flatMap((element) => commandsFor("add", element)),
  ];
  await change(commands);
}

/** Returns the counters of all services. @throws ToolError */
export async function readCounters(): Promise<ReadonlyMap<string, Counters>> {
  const services = new Map<string, Record<Direction, number>>();
  for (const { name, packets, bytes } of objects(await list("counters", "table", "inet", TABLE), "counter")) {
    const [, direction = "", service = ""] = /^(\w+?)-(.*)$/.exec(String(name)) ?? [];
    const counters = services.get(service) ?? { up: 0, down: 0, opened: 0 };
    services.set(service, { ...counters, [direction]: Number(direction === "opened" ? packets : bytes) });
  }
  return new Map([...services].map(([service, { up, down, opened }]) => [service, { up, down, connections: opened }]));
}

/** Returns the mark of the nth service, from 1. */
export function markOf(n: number): number {
  return MARK_BASE + n;
}

function commandsFor(verb: "add" | "delete", element: Element): string[] {
  const { protocol, port, mark, address, targetPort, sources } = element;
  const family = isIPv6(address) ? 6 : 4;
  const service = `${protocol} . ${port}`;
  const command = (set: string, key: string, value?: string): string =>
    `${verb} element inet ${TABLE} ${set}${family} { ${key}${verb === "add" && value !== undefined ? ` : ${value}` : ""} }`;
  return [
    ...sources.denied.map((network) => command("denied", `${service} . ${network}`)),
    ...sources.allowed.map((network) => command("marks", `${service} . ${network}`, `${mark}`)),
    command("to", service, `${address} . ${targetPort}`),
  ];
}

/** One transaction. As text, because nft 1.0.6 reads JSON from files only. */
async function change(commands: readonly string[]): Promise<void> {
  if (commands.length > 0) await runTool("nft", ["-f", "-"], `${commands.join("\n")}\n`);
}

function list(...what: string[]): Promise<string> {
  return runTool("nft", ["-j", "list", ...what]);
}

/** Returns the listed objects of one kind: `{"nftables": [{"table": {…}}, …]}`. */
function objects(listing: string, kind: string): Record<string, unknown>[] {
  const { nftables = [] } = JSON.parse(listing || "{}") as {
    nftables?: Record<string, Record<string, unknown>>[];
  };
  return nftables.flatMap((entry): Record<string, unknown>[] => (entry[kind] === undefined ? [] : [entry[kind]]));
}
