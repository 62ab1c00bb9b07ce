/**
 * Passes the listening socket to a program that accepts all clients until it ends, as inetd does with "wait". The first
 * client is relayed over wakeport's own connection to the same port: see docs/design/processes.md.
 */

import type net from "node:net";
import { Cooldown } from "../../activation/cooldown.ts";
import { CooldownError, type Exit, ExitedError } from "../../activation/errors.ts";
import { MAX_ATTEMPTS } from "../../activation/retry.ts";
import { abortable } from "../../async/wait.ts";
import { plainAddress } from "../../net/addresses.ts";
import { dial } from "../../net/dial.ts";
import type { Relayer } from "../../net/relay.ts";
import { reset } from "../../net/reset.ts";
import type { Worker, Workers } from "../../targets/inetd-workers.ts";
import { handOver, resumeListening } from "../listen/hand-over.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

const DIAL_MS = 10_000;
/** A program that fails within this time has served no client, so a cooldown begins. */
const EARLY_MS = 1_000;
/** Time from the reset of a connection to the report that its program has ended. */
const EXIT_REPORT_MS = 250;

export interface InetdWaitOptions {
  /** For messages: `inetd ircd`. */
  readonly name: string;
  readonly workers: Workers;
  readonly relayer: Relayer;
  /** Called if the port cannot be listened on again. */
  readonly onFailure: (message: string) => void;
}

type Connecting = Pick<Client, "socket" | "signal" | "listener">;

/** A connection to the program. */
interface Reached {
  readonly upstream: net.Socket;
  readonly worker: Worker;
  /** Disposed when the connection is no longer relayed. */
  readonly own: Disposable;
}

const never: AbortSignal = new AbortController().signal;

/** One program with the listening socket, from its start to its end. */
interface WorkerRun {
  readonly worker: Promise<Worker>;
}

export class InetdWait implements Handler {
  readonly isCold = false;
  readonly #options: InetdWaitOptions;
  readonly #cooldown = new Cooldown();
  #run: WorkerRun | undefined;
  #isDraining = false;
  /** Pending from the end of a program until wakeport listens again. */
  #resuming: Promise<void> | undefined;

  constructor(options: InetdWaitOptions) {
    this.#options = options;
  }

  /** @throws TargetError if the program cannot be started, ExitedError if it ends at once, CooldownError */
  async serve(client: Client): Promise<Served> {
    // The first client does not wait: clients that are accepted before the program has the socket must be relayed.
    const isFirst = this.#run === undefined && this.#resuming === undefined;
    const { upstream, worker, own } = await this.#reachProgram(client, 1);
    using _own = own;
    client.opened(isFirst ? { pid: worker.pid } : {});
    const end = await this.#options.relayer.relay({
      client: client.socket,
      upstream,
      meters: client.meters,
      lost: never,
    });
    if (end === "upstream_reset" && client.meters[0]?.out === 0) await this.#throwIfExited(worker);
    if (!isFirst) return { outcome: "relayed", end };
    return { outcome: "served", end, exit: await worker.exited };
  }

  async drain(drainMs: number): Promise<void> {
    this.#isDraining = true;
    await this.#options.workers.close(drainMs);
  }

  async #reachProgram(client: Connecting, attempt: number): Promise<Reached> {
    if (this.#run === undefined) await abortable(this.#resuming ?? Promise.resolve(), client.signal);
    const run = this.#run ?? this.#begin(client.listener);
    const worker = await run.worker;
    const upstream = await this.#dial(client, worker);
    const ended = new AbortController();
    const { listener } = client;
    const intercepted = listener.intercept(upstream, (socket) => {
      // The client's own socket and signal end when its relay begins.
      void this.#serveAgain({ socket, signal: ended.signal, listener }, attempt + 1);
    });
    const end = (): void => {
      intercepted[Symbol.dispose]();
      ended.abort(new Error("the relay of the client has ended"));
    };
    return { upstream, worker, own: { [Symbol.dispose]: end } };
  }

  /**
   * Relays a connection that the program left in the backlog to its next run. The connection contains all that its client
   * sent. After MAX_ATTEMPTS the client is reset.
   */
  async #serveAgain(client: Connecting, attempt: number): Promise<void> {
    const { socket: accepted } = client;
    accepted.on("error", () => {});
    try {
      if (attempt > MAX_ATTEMPTS || this.#isDraining) return reset(accepted);
      const { upstream, own } = await this.#reachProgram(client, attempt);
      using _own = own;
      await this.#options.relayer.relay({ client: accepted, upstream, meters: [], lost: never });
    } catch {
      // The client's own relay reports the reset.
      reset(accepted);
    }
  }

  #begin(listener: Client["listener"]): WorkerRun {
    const { name, workers } = this.#options;
    if (this.#cooldown.isActive) throw new CooldownError(`${name} exited immediately at its last start`);
    const run = { worker: handOver(listener, (fd) => workers.start([fd, fd, "pipe"])) };
    this.#run = run;
    run.worker.then(
      (worker) => worker.exited.then((exit) => this.#onExit(listener, exit, performance.now() - worker.startedAt)),
      () => this.#onExit(listener, {}, Number.POSITIVE_INFINITY),
    );
    return run;
  }

  #onExit(listener: Client["listener"], { code, signal }: Exit, livedMs: number): void {
    const isFailure = signal !== undefined || (code !== undefined && code !== 0);
    if (isFailure && livedMs < EARLY_MS) this.#cooldown.begin();
    else this.#cooldown.reset();
    this.#run = undefined;
    this.#resuming = resumeListening(listener, this.#options.onFailure).finally(() => {
      this.#resuming = undefined;
    });
  }

  /** Connects to the program at the address that the client connected to. */
  async #dial({ socket, signal }: Connecting, worker: Worker): Promise<net.Socket> {
    try {
      const host = plainAddress(socket.localAddress);
      return await dial({ host, port: socket.localPort ?? 0, timeoutMs: DIAL_MS, signal });
    } catch (error) {
      signal.throwIfAborted();
      await this.#throwIfExited(worker);
      throw error;
    }
  }

  /** @throws ExitedError if the program has ended, or ends within EXIT_REPORT_MS */
  async #throwIfExited(worker: Worker): Promise<void> {
    const { promise: timeout, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(resolve, EXIT_REPORT_MS, undefined);
    const exit = await Promise.race([worker.exited, timeout]);
    clearTimeout(timer);
    if (exit !== undefined) throw new ExitedError(this.#options.name, exit);
  }
}
