/**
 * Hands the listening socket itself to a program, once, as inetd does with "wait": the program accepts the first client
 * and all that follow, until it ends; then wakeport accepts again, the clients in the backlog first.
 *
 * Node accepts the first client to report it, so that client reaches the program by a connection of wakeport to the same
 * port. See listenerFd() for why accepting stops in the same turn in which the program gets the socket.
 */

import type net from "node:net";
import { Cooldown } from "../../activation/cooldown.ts";
import { CooldownError, type Exit, ExitedError } from "../../activation/errors.ts";
import { abortable } from "../../async/wait.ts";
import { plainAddress } from "../../net/addresses.ts";
import { dial } from "../../net/dial.ts";
import { relay } from "../../net/relay.ts";
import type { Worker, Workers } from "../../targets/worker.ts";
import { handOver, takeBack } from "../listen/hand-over.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

const DIAL_MS = 10_000;
/** A program that fails sooner than that has served nobody: the next start waits, longer each time. */
const EARLY_MS = 1_000;
/** Between the reset of a client and the news that its program has ended. */
const NEWS_MS = 250;

export interface InetdWaitOptions {
  /** For people: `inetd ircd`. */
  readonly name: string;
  readonly workers: Workers;
  /** Told what keeps the port from being listened on again. */
  readonly onTrouble: (message: string) => void;
}

/** One program with the listener, from its start to its end. */
interface WorkerRun {
  readonly worker: Promise<Worker>;
}

export class InetdWait implements Handler {
  readonly isCold = false;
  readonly #options: InetdWaitOptions;
  readonly #cooldown = new Cooldown();
  #shift: WorkerRun | undefined;
  /** Pending from the end of a program until the port is listened on again. */
  #takingBack: Promise<void> | undefined;

  constructor(options: InetdWaitOptions) {
    this.#options = options;
  }

  /** @throws TargetError when the program cannot be started, ExitedError when it ends at once, CooldownError */
  async serve(client: Client): Promise<Served> {
    // At once for the first: the more are accepted before the program has the socket, the more have to be relayed.
    const isFirst = this.#shift === undefined && this.#takingBack === undefined;
    if (!isFirst) await abortable(this.#takingBack ?? Promise.resolve(), client.signal);
    const shift = this.#shift ?? this.#begin(client.listener);
    const worker = await shift.worker;
    const upstream = await this.#reach(client, worker);
    using _own = client.listener.disown(upstream);
    client.served(isFirst ? { pid: worker.pid } : {});
    const end = await relay({
      client: client.socket,
      upstream,
      meters: client.meters,
      lost: new AbortController().signal,
    });
    if (end === "upstream_reset" && client.meters[0]?.out === 0) await this.#throwIfOver(worker);
    if (!isFirst) return { outcome: "relayed", end };
    return { outcome: "served", end, exit: await worker.exited };
  }

  async drain(drainMs: number): Promise<void> {
    await this.#options.workers.close(drainMs);
  }

  #begin(listener: Client["listener"]): WorkerRun {
    const { name, workers } = this.#options;
    if (this.#cooldown.isActive) throw new CooldownError(`${name} ended at once a moment ago`);
    const shift = { worker: handOver(listener, (fd) => workers.start([fd, fd, "pipe"])) };
    this.#shift = shift;
    shift.worker.then(
      (worker) => worker.exited.then((exit) => this.#over(listener, exit, performance.now() - worker.startedAt)),
      () => this.#over(listener, {}, Number.POSITIVE_INFINITY),
    );
    return shift;
  }

  #over(listener: Client["listener"], { code, signal }: Exit, livedMs: number): void {
    const isFailure = signal !== undefined || (code !== undefined && code !== 0);
    if (isFailure && livedMs < EARLY_MS) this.#cooldown.begin();
    else this.#cooldown.reset();
    this.#shift = undefined;
    this.#takingBack = takeBack(listener, this.#options.onTrouble).finally(() => {
      this.#takingBack = undefined;
    });
  }

  /** By the address at which the client has reached us. */
  async #reach({ socket, signal }: Client, worker: Worker): Promise<net.Socket> {
    try {
      const host = plainAddress(socket.localAddress);
      return await dial({ host, port: socket.localPort ?? 0, timeoutMs: DIAL_MS, signal });
    } catch (error) {
      signal.throwIfAborted();
      await this.#throwIfOver(worker);
      throw error;
    }
  }

  /** @throws ExitedError when the program has ended, or does now */
  async #throwIfOver(worker: Worker): Promise<void> {
    const { promise: noNews, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(resolve, NEWS_MS, undefined);
    const exit = await Promise.race([worker.exited, noNews]);
    clearTimeout(timer);
    if (exit !== undefined) throw new ExitedError(this.#options.name, exit);
  }
}
