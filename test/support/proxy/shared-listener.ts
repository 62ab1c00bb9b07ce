/** One front of several services, with real connections, whose destinations keep what they are told. */

import type { Names } from "../../../src/net/hostname.ts";
import type { Ident } from "../../../src/net/ident.ts";
import type { Network } from "../../../src/net/ip.ts";
import { Farewell } from "../../../src/proxy/admission/lingering-close.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";
import { Connection, type Route } from "../../../src/proxy/connection.ts";
import type { Client, Destination, Served } from "../../../src/proxy/handlers/handler.ts";
import { type Front, formatFront } from "../../../src/proxy/listen/listener.ts";
import { Fronts } from "../../../src/proxy/listen/listener-pool.ts";
import type { Opening } from "../../../src/proxy/routing/route-table.ts";
import { Arrivals } from "../../../src/proxy/routing/router.ts";
import type { UnroutedReason } from "../../../src/proxy/routing/unrouted.ts";
import { type ConnectionReport, observer, type UnroutedReport } from "../../../src/telemetry/observer.ts";
import { connecting, eventually, freePort, Peer } from "../net/tcp.ts";
import { openEntrance } from "./open-admission.ts";

/** What one service is to be. */
export interface Sharer {
  readonly names?: Names;
  readonly receive?: readonly Network[];
  readonly probes?: readonly Network[];
}

/** A client as the destination got it. */
export interface Guest {
  readonly service: string;
  readonly client: Client;
  readonly peer: Peer;
}

export interface SharedFrontOptions {
  readonly services: Readonly<Record<string, Sharer>>;
  readonly deadlineMs?: number;
  readonly slots?: number;
  readonly ident?: Ident;
  /** Whether it listens everywhere, for both families. */
  readonly isEverywhere?: boolean;
}

export class SharedFront implements AsyncDisposable {
  readonly guests: Guest[] = [];
  readonly reports: ConnectionReport[] = [];
  readonly unrouted: UnroutedReport[] = [];
  readonly slots: Slots;
  readonly arrivals: Arrivals;
  readonly fronts: Fronts;
  readonly farewell: Farewell = new Farewell();
  readonly front: Front;
  readonly #running = new Map<Connection, Promise<void>>();
  accepted = 0;

  private constructor(front: Front, { deadlineMs, slots = 10_000, ident }: SharedFrontOptions) {
    this.front = front;
    this.slots = new Slots({ limit: slots, what: "connections in all", reason: "process_limit" });
    const told = observer({
      connection: (report) => this.reports.push(report),
      unrouted: (report) => this.unrouted.push(report),
    });
    this.arrivals = new Arrivals({
      gatehouse: { slots: this.slots, farewell: this.farewell },
      observer: told,
      deadlineMs,
    });
    this.fronts = new Fronts((client, listener, signpost) => {
      this.accepted += 1;
      this.arrivals.receive(client, { front: formatFront(front), signpost }, ({ route, ends }) => {
        const current = (): Route | undefined => signpost()?.routeOf(route.service);
        const id = this.#running.size + 1;
        const connection = new Connection({ id, client, ends, listener, route, current, observer: told, ident });
        this.#running.set(connection, connection.run());
      });
    });
  }

  static async open(options: SharedFrontOptions): Promise<SharedFront> {
    const address = options.isEverywhere ? {} : { address: "127.0.0.1" };
    const shared = new SharedFront({ ...address, port: await freePort() }, options);
    using trial = await shared.fronts.bind([{ service: "any", front: shared.front }]);
    trial.keep();
    shared.lead(options.services);
    return shared;
  }

  lead(services: SharedFrontOptions["services"]): void {
    this.fronts.lead(Object.entries(services).map(([name, sharer]) => this.#openingOf(name, sharer)));
  }

  /** @param from its own address; default: the system's choice */
  connect(from?: string): Peer {
    return connecting(this.front.port, "127.0.0.1", from);
  }

  /** Says something, and waits for whoever is led to a service by it. */
  async guest(words: string | Buffer, client: Peer = this.connect()): Promise<Guest> {
    const before = this.guests.length;
    client.send(words);
    await eventually("a service has it", () => this.guests.length > before);
    return this.guests.at(-1) as Guest;
  }

  /** Waits until so many were led nowhere. @returns why */
  async reasons(count: number): Promise<UnroutedReason[]> {
    await eventually(`${count} are led nowhere`, () => this.unrouted.length >= count);
    return this.unrouted.map(({ error }) => error.reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.fronts.close();
    this.arrivals.close();
    this.farewell.close();
    for (const connection of this.#running.keys()) connection.reset();
    await Promise.all([...this.#running.values(), this.arrivals.finished()]);
  }

  #openingOf(service: string, { names, receive = [], probes = [] }: Sharer): Opening {
    const destination: Destination = {
      isCold: false,
      serve: (client) => {
        const { promise, resolve } = Promise.withResolvers<Served>();
        client.opened();
        client.socket.once("close", () => resolve({ outcome: "served", end: "closed" }));
        this.guests.push({ service, client, peer: new Peer(client.socket) });
        client.socket.resume();
        return promise;
      },
    };
    const waiting = new Slots({ limit: 100, what: "waiting" });
    const traffic = { waiting, active: 0, open: new Set<never>(), meter: { in: 0, out: 0 } };
    const entrance = openEntrance({ slots: this.slots, probes });
    const route = { service, front: formatFront(this.front), entrance, destination, traffic };
    return { front: this.front, route, names, receive, probes };
  }
}
