/** Checks whether this process may forward connections in the kernel. docs/kernel-route.md lists the conditions. */
import { readFileSync } from "node:fs";
import { platform } from "node:os";
import { messageOf } from "../errors.ts";
import { runTool } from "./tool.ts";

/** The bit of CAP_NET_ADMIN: capability.h. */
const NET_ADMIN = 1n << 12n;
/** The kernel shows this setting only in the network namespace of the host. */
const HOST_ONLY = "/proc/sys/net/core/netdev_max_backlog";

export interface Permission {
  /** Why no connection can be forwarded, with a remedy; absent: permitted. */
  readonly problem?: string;
  /** Whether clients with IPv6 can be forwarded. */
  readonly hasIpv6: boolean;
  /** Which timeout of the kernel would end connections that a relay keeps; absent: none. */
  readonly shortTimeout?: string;
}

/** Seconds for which the kernel must remember silent connections. */
const MIN_TIMEOUTS = { established: 86_400, close_wait: 3_600, fin_wait: 3_600 };

/** Returns what this process may do. Changes nothing. */
export async function checkPermission(): Promise<Permission> {
  const problem = namespaceProblem() ?? (await toolProblem());
  const hasIpv6 = isOn("/proc/sys/net/ipv6/conf/all/forwarding");
  const shortTimeout = problem === undefined ? findShortTimeout() : undefined;
  return { hasIpv6, ...(problem !== undefined && { problem }), ...(shortTimeout !== undefined && { shortTimeout }) };
}

function findShortTimeout(): string | undefined {
  for (const [state, minimum] of Object.entries(MIN_TIMEOUTS)) {
    const setting = `nf_conntrack_tcp_timeout_${state}`;
    const seconds = Number(read(`/proc/sys/net/netfilter/${setting}`));
    if (seconds < minimum) return `net.netfilter.${setting} is ${seconds} s, less than ${minimum} s`;
  }
  return undefined;
}

function namespaceProblem(): string | undefined {
  if (platform() !== "linux") return "only Linux has nftables";
  if (read(HOST_ONLY) !== "")
    return "wakeport uses the network of the host: run it in a container with its own network";
  if ((capabilities() & NET_ADMIN) === 0n) return "wakeport has no NET_ADMIN: run it as root with cap_add: [NET_ADMIN]";
  if (!isOn("/proc/sys/net/ipv4/ip_forward")) return "forwarding is off: write sysctls: { net.ipv4.ip_forward: 1 }";
  return undefined;
}

/** Listing needs the same rights as changing. */
async function toolProblem(): Promise<string | undefined> {
  try {
    await runTool("nft", ["list", "tables"]);
    await runTool("conntrack", ["-C"]);
    return undefined;
  } catch (error) {
    return `${messageOf(error)}: use the image of compose/kernel, or install nftables and conntrack`;
  }
}

/** Returns the effective capabilities of this process: proc(5). */
function capabilities(): bigint {
  const [, hex = "0"] = /^CapEff:\s*([0-9a-f]+)$/m.exec(read("/proc/self/status")) ?? [];
  return BigInt(`0x${hex}`);
}

function isOn(file: string): boolean {
  return read(file).trim() === "1";
}

/** Returns the content of a file, or an empty string if it cannot be read. */
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
