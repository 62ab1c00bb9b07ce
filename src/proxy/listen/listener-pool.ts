import type net from "node:net";
import { bindErrorOf } from "../../errors.ts";
import { reset } from "../../net/reset.ts";
import { type Opening, Signpost } from "../routing/route-table.ts";
import { type Front, formatFront, Listener } from "./listener.ts";

/** Fronts that are bound on trial: they are let go of again unless they are kept. */
export interface Trial extends Disposable {
  keep(): void;
}

export interface WantedFront {
  readonly service: string;
  readonly front: Front;
  /** Whether the listener is passed to a program of the service; default: no. */
  readonly isHandedOver?: boolean;
}

/** `signpost` tells how clients of the same front are led at any later time; undefined when it is gone. */
type OnClient = (client: net.Socket, listener: Listener, signpost: () => Signpost | undefined) => void;

interface Bound {
  readonly listener: Listener;
  /** By the service whose clients are led there, the latest last. */
  readonly openings: Map<string, Opening>;
  signpost: Signpost | undefined;
  /** Clients that came before it was known where they are led. */
  readonly early: net.Socket[];
}

/**
 * The TCP fronts that are bound. A front may lead to several services, and be led elsewhere while it listens: nobody is
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
   * Binds those of the fronts that are not bound yet, all or none; the others stay as they are. Until `lead` says where,
   * their clients wait.
   *
   * @param wanted the fronts, each with its service and whether its listener is passed to a program
   * @param inherited descriptors that are bound already
   * @throws BindError with a line for each address that cannot be bound
   */
  async bind(
    wanted: readonly WantedFront[],
    inherited: ReadonlyMap<Front, { readonly fd: number }> = new Map(),
  ): Promise<Trial> {
    const fresh = [...Map.groupBy(wanted, ({ front }) => formatFront(front))].flatMap(([key, same]) =>
      this.#bound.has(key) ? [] : same.slice(0, 1),
    );
    const opening = fresh.map((one) => this.#add(one).open(inherited.get(one.front)?.fd));
    const release = (): void => {
      for (const { front } of fresh) this.#drop(formatFront(front));
    };
    const opened = await Promise.allSettled(opening);
    const failure = bindErrorOf(opened);
    if (failure !== undefined) {
      release();
      throw failure;
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

  /** From now on clients of these fronts, which are bound, are led there, or those of them who say the names. */
  lead(openings: readonly Opening[]): void {
    const led = new Set<Bound>();
    for (const opening of openings) {
      const bound = this.#bound.get(formatFront(opening.front));
      if (bound === undefined) continue;
      const { service } = opening.route;
      bound.openings.delete(service);
      bound.openings.set(service, opening);
      led.add(bound);
    }
    for (const bound of led) {
      point(bound);
      for (const client of bound.early.splice(0)) this.#onClient(client, bound.listener, () => bound.signpost);
    }
  }

  /** Clients of a service are no longer led to it, but by the fronts that are named. A front without any is let go of. */
  release(service: string, kept: readonly Opening[] = []): void {
    const keep = new Set(kept.map(({ front }) => formatFront(front)));
    for (const [key, bound] of this.#bound) {
      if (keep.has(key) || !bound.openings.delete(service)) continue;
      point(bound);
      if (bound.signpost === undefined) this.#drop(key);
    }
  }

  /** Lets go of all but those that are named. Connections that are open stay. */
  close(kept: readonly Opening[] = []): void {
    const keep = new Set(kept.map(({ front }) => formatFront(front)));
    for (const key of this.#bound.keys()) if (!keep.has(key)) this.#drop(key);
  }

  #add({ service, front, isHandedOver }: WantedFront): Listener {
    const bound: Bound = {
      openings: new Map(),
      signpost: undefined,
      early: [],
      listener: new Listener(service, front, (client) => onClient(client), isHandedOver),
    };
    const onClient = (client: net.Socket): void => {
      if (bound.signpost !== undefined) return this.#onClient(client, bound.listener, () => bound.signpost);
      client.pause().on("error", () => {});
      bound.early.push(client);
    };
    this.#bound.set(formatFront(front), bound);
    return bound.listener;
  }

  #drop(key: string): void {
    const bound = this.#bound.get(key);
    bound?.listener.close();
    if (bound !== undefined) bound.signpost = undefined;
    for (const client of bound?.early ?? []) reset(client);
    this.#bound.delete(key);
  }
}

function point(bound: Bound): void {
  const [first, ...others] = bound.openings.values();
  bound.signpost = first === undefined ? undefined : new Signpost([first, ...others]);
}
