import type net from "node:net";
import { BindError, messageOf } from "../errors.ts";
import type { Route } from "./connection.ts";
import { type Front, formatFront, Listener } from "./listener.ts";

/** A front, and where its clients are led. */
export interface Opening {
  readonly front: Front;
  readonly route: Route;
}

/** Fronts that are bound on trial: they are let go of again unless they are kept. */
export interface Trial extends Disposable {
  keep(): void;
}

/** `current` tells where clients of the same front are led at any later time; undefined when it is gone. */
type OnClient = (client: net.Socket, route: Route, listener: Listener, current: () => Route | undefined) => void;

interface Bound {
  readonly listener: Listener;
  route: Route | undefined;
  /** Clients that came before it was known where they are led. */
  readonly early: net.Socket[];
}

/**
 * The TCP fronts that are bound. A front may be led elsewhere, even to another service, while it listens: nobody is
 * refused meanwhile, and who was let in stays where they are.
 */
export class Fronts {
  readonly #bound = new Map<string, Bound>();
  readonly #onClient: OnClient;

  constructor(onClient: OnClient) {
    this.#onClient = onClient;
  }

  get size(): number {
    return this.#bound.size;
  }

  /**
   * Binds those of a service's fronts that are not bound yet, all or none; the others stay as they are. Until `lead` says
   * where, their clients wait.
   *
   * @param inherited descriptors that are bound already
   * @throws BindError with a line for each address that cannot be bound
   */
  async bind(
    wanted: readonly { readonly service: string; readonly front: Front }[],
    inherited: ReadonlyMap<Front, { readonly fd: number }> = new Map(),
  ): Promise<Trial> {
    const fresh = wanted.filter(({ front }) => !this.#bound.has(formatFront(front)));
    const opening = fresh.map(({ service, front }) => this.#add(service, front).open(inherited.get(front)?.fd));
    const release = (): void => {
      for (const { front } of fresh) this.#drop(formatFront(front));
    };
    const opened = await Promise.allSettled(opening);
    const failures = opened.filter((result) => result.status === "rejected").map(({ reason }) => messageOf(reason));
    if (failures.length > 0) {
      release();
      throw new BindError(failures.join("\n"));
    }
    let isKept = false;
    return {
      keep: () => {
        isKept = true;
      },
      [Symbol.dispose]: () => {
        if (!isKept) release();
      },
    };
  }

  /** From now on clients of these fronts, which are bound, are led there. */
  lead(openings: readonly Opening[]): void {
    for (const { front, route } of openings) {
      const bound = this.#bound.get(formatFront(front));
      if (bound === undefined) continue;
      bound.route = route;
      for (const client of bound.early.splice(0)) this.#onClient(client, route, bound.listener, () => bound.route);
    }
  }

  /** Lets go of the fronts that lead to a service, but for those that are named. */
  release(service: string, kept: readonly Opening[] = []): void {
    const keep = new Set(kept.map(({ front }) => formatFront(front)));
    for (const [key, { route }] of this.#bound) {
      if (route?.service === service && !keep.has(key)) this.#drop(key);
    }
  }

  /** Lets go of all but those that are named. Connections that are open stay. */
  close(kept: readonly Opening[] = []): void {
    const keep = new Set(kept.map(({ front }) => formatFront(front)));
    for (const key of this.#bound.keys()) if (!keep.has(key)) this.#drop(key);
  }

  #add(service: string, front: Front): Listener {
    const bound: Bound = {
      route: undefined,
      early: [],
      listener: new Listener(service, front, (client) => {
        if (bound.route !== undefined) return this.#onClient(client, bound.route, bound.listener, () => bound.route);
        client.pause().on("error", () => {});
        bound.early.push(client);
      }),
    };
    this.#bound.set(formatFront(front), bound);
    return bound.listener;
  }

  #drop(key: string): void {
    const bound = this.#bound.get(key);
    bound?.listener.close();
    if (bound !== undefined) bound.route = undefined;
    for (const client of bound?.early ?? []) client.resetAndDestroy();
    this.#bound.delete(key);
  }
}
