/** Direct use of a running container, which bypasses wakeport: exec sessions, direct traffic and direct connections. */
import { readFile } from "node:fs/promises";
import { delay } from "../async/wait.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import type { Engine } from "../docker/engine.ts";
import { exchangedBytes, type Traffic } from "../docker/traffic.ts";
import { TargetError } from "../errors.ts";
import { connectionsFromOutside } from "../net/direct-connections.ts";
import { readSocketRows } from "../net/proc-net.ts";

/** A health check is an exec session. If it runs longer than this, it counts as use until the next check. */
const MAX_HEALTH_CHECK_MS = 5_000;
const POLL_MS = 250;

export class DirectUse {
  readonly #engine: Engine;
  #last: { readonly incarnation: string; readonly traffic: Traffic } | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Returns exec sessions and direct traffic since the last call, one phrase each.
   *
   * @param limit bytes of direct traffic that do not count; undefined: traffic does not count
   * @throws TargetError
   */
  async find(facts: ContainerFacts, limit: number | undefined, signal: AbortSignal): Promise<readonly string[]> {
    const [sessions, bytes] = await Promise.all([
      this.#sessions(facts, signal),
      limit === undefined ? 0 : this.#exchanged(facts, signal),
    ]);
    return [
      ...(sessions > 0 ? [counted(sessions, "exec session")] : []),
      ...(bytes > (limit ?? 0) ? [`${formatBytes(bytes)} of direct traffic`] : []),
    ];
  }

  /** Reads the traffic up to now, with which the next call compares. @throws TargetError */
  async readTraffic(facts: ContainerFacts, signal: AbortSignal): Promise<void> {
    await this.#exchanged(facts, signal);
  }

  /** Number of exec sessions that last longer than a health check. */
  async #sessions(facts: ContainerFacts, signal: AbortSignal): Promise<number> {
    let ids = facts.execIds;
    const healthCheckMs = Math.min(facts.healthTimeoutMs ?? 0, MAX_HEALTH_CHECK_MS);
    for (let waitedMs = 0; ids.length > 0 && waitedMs < healthCheckMs; waitedMs += POLL_MS) {
      await delay(POLL_MS, signal);
      const now = await this.#engine.inspect(facts, signal);
      ids = ids.filter((id) => now.execIds.includes(id));
    }
    return ids.length;
  }

  /** Bytes exchanged since the last call in this incarnation; 0 if unknown. */
  async #exchanged(facts: ContainerFacts, signal: AbortSignal): Promise<number> {
    const incarnation = `${facts.id} ${facts.startedAt}`;
    const last = this.#last;
    const traffic = await this.#engine.traffic(facts, signal).catch(undefinedIfRefused);
    this.#last = traffic && { incarnation, traffic };
    return traffic === undefined || last?.incarnation !== incarnation ? 0 : exchangedBytes(last.traffic, traffic);
  }
}

/**
 * Returns the number of open connections to a container, including silent ones, in one phrase. Empty without
 * connections, or if wakeport runs in a container or the engine on another machine: its network is then not visible.
 *
 * @param except addresses whose connections do not count
 */
export async function openConnections(
  { id, pid, networkMode, networkOf, networks }: ContainerFacts,
  except: readonly string[],
): Promise<readonly string[]> {
  const hasOwnNetwork = networkMode !== "host" && networkOf === undefined;
  // The PID may belong to another process on this machine.
  const cgroup = hasOwnNetwork && pid > 0 ? await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "") : "";
  if (!cgroup.includes(id)) return [];
  const rows = await Promise.all([readSocketRows("tcp", pid), readSocketRows("tcp6", pid)]);
  const connections = connectionsFromOutside(rows.flat(), addressesOf({ networks }), except);
  return connections === 0 ? [] : [counted(connections, "direct connection")];
}

/** Returns the container's addresses in all its networks. */
export function addressesOf({ networks }: Pick<ContainerFacts, "networks">): string[] {
  return networks.flatMap(({ ipv4, ipv6 }) => [ipv4 ?? [], ipv6 ?? []].flat());
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** Statistics may be refused by a proxy, which is reported elsewhere, or not supported by the engine. */
function undefinedIfRefused(error: unknown): undefined {
  if (error instanceof TargetError && (error.fault === "denied" || error.fault === "missing")) return undefined;
  throw error;
}

function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  return bytes < 1_000_000 ? `${Math.round(bytes / 1_000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
