/** Serves clients with a target: acquires it, connects to it, and relays. */

import type net from "node:net";
import { ClosedError, CooldownError, ExitedError } from "../../activation/errors.ts";
import type { Lease } from "../../activation/lease.ts";
import { MAX_ATTEMPTS } from "../../activation/retry.ts";
import { abortable, delay } from "../../async/wait.ts";
import { closeGracefully } from "../../net/close.ts";
import { readIp } from "../../net/ip.ts";
import { type ProxyVersion, proxyHeader } from "../../net/proxy-protocol.ts";
import type { RelayEnd, Relayer } from "../../net/relay.ts";
import type { ControlConnection, DataPorts } from "../data-ports.ts";
import { firstByte } from "../first-byte.ts";
import { firstTraffic } from "../first-traffic.ts";
import type { Served, WakeTimes } from "../outcome.ts";
import type { HeldClient, Progress, Protocol } from "../protocols/protocol.ts";
import type { Client, Handler } from "./handler.ts";
import { type ReachedTarget, reachTarget, type TargetPort } from "./reach-target.ts";

/** After a waiting page, the target is kept up for this time, in which the browser connects again. */
const RECONNECT_MS = 2_000;
/** Time for the engine to report the end of a target after its connections ended. */
const EXIT_REPORT_MS = 1_000;

/** The target went down before a byte was relayed to or from the client. */
interface Loss {
  readonly error: ExitedError;
  /** Limit of the wait for the next activation: the rest of the first wait, plus the time connected. */
  readonly leftMs: number;
}

/** A client that is relayed. */
interface Begun {
  readonly end: Promise<RelayEnd>;
  readonly lease: Lease;
  readonly wake: WakeTimes | undefined;
  /** Both are disposed at the end. */
  readonly held: Disposable;
  readonly heldClient: HeldClient;
}

export interface TargetHandlerOptions extends TargetPort {
  readonly protocol: Protocol;
  readonly relayer: Relayer;
  /** Limit of the wait for the client's first byte, in milliseconds; absent: a connection alone wakes the target. */
  readonly silenceMs?: number | undefined;
  /** Data ports of the service, which its clients may use while they are served. */
  readonly dataPorts?: DataPorts | undefined;
  /** Version of the PROXY protocol header that is sent to the target; absent: none. */
  readonly send?: ProxyVersion | undefined;
}

export class TargetHandler implements Handler {
  readonly #options: TargetHandlerOptions;
  readonly #retired = new AbortController();

  readonly #progress: Progress;

  constructor(options: TargetHandlerOptions) {
    this.#options = options;
    this.#progress = progressOf(options);
  }

  get isCold(): boolean {
    return !this.#options.activator.isReady;
  }

  async waitForFirstByte({ socket, signal }: Pick<Client, "socket" | "signal">): Promise<void> {
    const { silenceMs } = this.#options;
    if (silenceMs !== undefined) await firstByte(socket, silenceMs, AbortSignal.any([signal, this.#retired.signal]));
  }

  /** Ends the wait for first bytes, because the changed service may not require them. */
  drain(): Promise<void> {
    this.#retired.abort(new ClosedError("the service was changed or removed"));
    return Promise.resolve();
  }

  /** If the target goes down before the first byte was relayed, the next activation serves the client. */
  async serve(client: Client): Promise<Served> {
    for (let attempt = 1, lost: Loss | undefined; ; attempt += 1) {
      const result = await this.#begin(client, lost);
      if ("held" in result) return relayed(result, client.meters);
      if ("outcome" in result) return result;
      lost = result;
      client.waitAgain();
      if (attempt === MAX_ATTEMPTS) throw lost.error;
    }
  }

  /**
   * Begins to relay. Ends then, so that the wait for the end of the relay keeps no socket in memory.
   *
   * @param lost the loss that the client waits after, if any
   * @returns the result if the client was served without the target, and a loss if the target went down before a byte was relayed in either direction
   */
  async #begin(client: Client, lost: Loss | undefined): Promise<Begun | Served | Loss> {
    const { socket, signal, meters } = client;
    this.#options.relayer.prepare();
    using resources = new DisposableStack();
    const heldClient = resources.use(this.#options.protocol.hold({ socket, signal, progress: this.#progress }));
    client.held(heldClient);
    const { isCold } = this;
    const requestedAt = performance.now();
    const { upstream, lease, readyAt, leftMs } = await this.#reach(client, lost);
    const connectedAt = performance.now();
    const control = this.#join(client, upstream, lease);
    const held = control ?? lease;
    // A close follows each error. The relay handles it.
    upstream.on("error", () => {});
    const served = await finishHold(heldClient, upstream).catch((error: unknown) => {
      held[Symbol.dispose]();
      throw error;
    });
    if (served !== undefined) {
      void keepForReconnect(held, lease.signal);
      return served;
    }
    resources.use(held);
    if (this.#options.send !== undefined) upstream.write(proxyHeader(this.#options.send, client));
    client.opened();
    if (!(await firstTraffic(socket, upstream, lease.signal))) {
      const exited = await exitOf(lease, signal);
      if (exited !== undefined) {
        upstream.destroy();
        return { error: exited, leftMs: leftMs + performance.now() - connectedAt };
      }
    }
    const firstByteAt = performance.now();
    const end = heldClient.relay({
      client: socket,
      peer: client.peer,
      relayer: this.#options.relayer,
      upstream,
      meters,
      lost: lease.signal,
      ...(control && { control }),
    });
    // Nothing is disposed yet.
    resources.move();
    const wake = isCold ? { requestedAt, readyAt, connectedAt, firstByteAt } : undefined;
    return { end, lease, wake, held, heldClient };
  }

  async #reach(client: Client, lost: Loss | undefined): Promise<ReachedTarget> {
    if (lost === undefined) return await reachTarget(this.#options, client);
    try {
      return await reachTarget(this.#options, client, lost.leftMs);
    } catch (error) {
      throw error instanceof CooldownError ? lost.error : error;
    }
  }

  #join({ peer, socket }: Client, upstream: net.Socket, lease: Lease): ControlConnection | undefined {
    const { dataPorts } = this.#options;
    if (dataPorts === undefined) return undefined;
    // Data connections have no PROXY header, so the addresses of both the client and its proxy are allowed.
    const ips = [peer.address, socket.remoteAddress ?? ""].map(readIp).filter((ip) => ip !== undefined);
    const { remoteAddress: upstreamAddress, localAddress } = upstream;
    // Undefined addresses: one of the two sockets was closed just now.
    if (ips.length === 0 || upstreamAddress === undefined || localAddress === undefined) return undefined;
    return dataPorts.join({ ips, listenAddress: socket.localAddress ?? "", upstreamAddress, localAddress, lease });
  }
}

/** Waits for the end of a relay. @throws ExitedError if an untried target was lost without an answer */
async function relayed(begun: Begun, meters: Client["meters"]): Promise<Served> {
  // A `using` declaration would keep a list of its own for each quiet connection.
  try {
    const { lease, wake } = begun;
    const end = await begun.end;
    const hasNoAnswer = meters[0]?.out === 0;
    const isLost = end === "upstream_reset" || end === "target_gone";
    const exited = lease.isUntried && hasNoAnswer && isLost ? await exitOf(lease) : undefined;
    if (exited !== undefined) throw exited;
    return { outcome: "relayed", end, ...(wake && { wake }) };
  } finally {
    begun.held[Symbol.dispose]();
    begun.heldClient[Symbol.dispose]();
  }
}

function progressOf({ service, activator }: TargetHandlerOptions): Progress {
  return {
    service,
    get state() {
      return activator.view.state;
    },
    get pending() {
      return activator.view.pending ?? [];
    },
    get since() {
      return activator.view.since;
    },
    get cooldownUntil() {
      return activator.view.cooldownUntil;
    },
    lastLines: (signal) => abortable(activator.lastLines(), signal).catch(() => []),
  };
}

/**
 * Ends the holding of a client after its target was reached. Closes `upstream` if the client does not need it.
 *
 * @throws the reason of the client's signal
 */
async function finishHold(heldClient: HeldClient, upstream: net.Socket): Promise<Served | undefined> {
  // A client that must reconnect never uses this connection, and a server with one connection at a time would be blocked.
  if (heldClient.mustReconnect === true) closeGracefully(upstream);
  let isNeeded = false;
  try {
    const served = await heldClient.ready();
    isNeeded = served === undefined;
    return served;
  } finally {
    if (!isNeeded) closeGracefully(upstream);
  }
}

/** Keeps the target up until the browser can have connected again: its idle timeout may be shorter. */
async function keepForReconnect(held: Disposable, lost: AbortSignal): Promise<void> {
  using _held = held;
  await delay(RECONNECT_MS, lost).catch(() => {});
}

/** Returns why the target went down, or undefined if it stays up for EXIT_REPORT_MS. @param gone aborted when the client ends */
async function exitOf({ signal }: Lease, gone?: AbortSignal): Promise<ExitedError | undefined> {
  await delay(EXIT_REPORT_MS, gone === undefined ? signal : AbortSignal.any([signal, gone])).catch(() => {});
  return signal.reason instanceof ExitedError ? signal.reason : undefined;
}
