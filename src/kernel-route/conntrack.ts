/** Counts and deletes forwarded flows in the kernel's table of connections, with conntrack(8). */
import { readFile } from "node:fs/promises";
import { MARK_BASE, MARK_MASK } from "./ruleset.ts";
import { runTool } from "./tool.ts";

/** All other states of TCP belong to connections that ended: TIME_WAIT, CLOSE. */
const OPEN_STATES = new Set(["SYN_SENT", "SYN_SENT2", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK"]);

/** `tcp 6 431999 ESTABLISHED src=C dst=S sport=1 dport=2 [UNREPLIED] src=T dst=S … mark=2003828737 use=1`. */
const ENTRY = /^tcp\s+\d+ \d+ (\w+) src=\S+ dst=(\S+) .*?src=(\S+) .* mark=(\d+)/;

/** Returns the number of open forwarded TCP connections by mark. @throws ToolError */
export async function countFlows(): Promise<ReadonlyMap<number, number>> {
  return flowsIn(await runTool("conntrack", ["-L", "-p", "tcp", "-m", `${MARK_BASE}/${MARK_MASK}`]));
}

/** Counts the open connections in a listing. A marked entry without a new destination belongs to the listener. */
export function flowsIn(listing: string): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const line of listing.split("\n")) {
    const [, state = "", destination, replySource, mark] = ENTRY.exec(line) ?? [];
    if (!OPEN_STATES.has(state) || destination === replySource) continue;
    counts.set(Number(mark), (counts.get(Number(mark)) ?? 0) + 1);
  }
  return counts;
}

/**
 * Deletes the flows of a service: the next packet of each client is treated as the first one.
 *
 * @param protocol absent: all protocols
 * @throws ToolError
 */
export async function deleteFlows(mark: number, protocol?: "udp"): Promise<void> {
  const filter = protocol === undefined ? [] : ["-p", protocol];
  await runTool("conntrack", ["-D", ...filter, "-m", String(mark)]).catch((error: unknown) => {
    // conntrack fails if no entry matches.
    if (!/\b0 flow entries/.test(String(error))) throw error;
  });
}

/** Returns the number of entries in the kernel's table of connections, and its limit; 0 if a number cannot be read. */
export async function readTableUse(): Promise<{ readonly count: number; readonly max: number }> {
  const [count = 0, max = 0] = await Promise.all(
    ["count", "max"].map(async (name) =>
      Number(await readFile(`/proc/sys/net/netfilter/nf_conntrack_${name}`, "utf8").catch(() => "0")),
    ),
  );
  return { count, max };
}
