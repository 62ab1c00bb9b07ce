/** One listener of several services, with real connections, whose handlers keep the received bytes. */

import assert from "node:assert/strict";
import { DataPlane } from "../../../src/dataplane/data-plane.ts";
import type { Names } from "../../../src/net/hostname.ts";
import type { Network } from "../../../src/net/ip.ts";
import { LingeringClose } from "../../../src/proxy/admission/lingering-close.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";
import type { Client, Handler } from "../../../src/proxy/handlers/handler.ts";
import type { Ident } from "../../../src/proxy/ident.ts";
import { formatListenAddress, type ListenAddress } from "../../../src/proxy/listen/listener.ts";
import { ListenerPool } from "../../../src/proxy/listen/listener-pool.ts";
import type { Served } from "../../../src/proxy/outcome.ts";
import type { ConnectionReport, UnroutedReport } from "../../../src/proxy/reports.ts";
import type { RouteEntry } from "../../../src/proxy/routing/route-table.ts";
import { Router } from "../../../src/proxy/routing/router.ts";
import type { UnroutedReason } from "../../../src/proxy/unrouted.ts";
import { observer } from "../../../src/telemetry/observer.ts";
import { eventually } from "../eventually.ts";
import { freePort } from "../free-port.ts";
import { connecting, Peer } from "../net/tcp.ts";
import { openAdmission } from "./open-admission.ts";

/** The settings of one service on the listener. */
export interface Sharer {
  readonly names?: Names;
  readonly receive?: readonly Network[];
  readonly monitors?: readonly Network[];
}

/** A client that a handler serves. */
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
  /** Whether it listens on all addresses of both families. */
  readonly isEverywhere?: boolean;
}

export class SharedListener implements AsyncDisposable {
  readonly guests: Guest[] = [];
  readonly reports: ConnectionReport[] = [];
  readonly unrouted: UnroutedReport[] = [];
  readonly slots: Slots;
  readonly router: Router;
  readonly listeners: ListenerPool;
  readonly lingering: LingeringClose = new LingeringClose();
  readonly listenPort: ListenAddress;
  accepted = 0;

  private constructor(listenPort: ListenAddress, { deadlineMs, slots = 10_000, ident }: SharedFrontOptions) {
    this.listenPort = listenPort;
    this.slots = new Slots({ limit: slots, what: "connections in total", reason: "process_limit" });
    const reporter = observer({
      connection: (report) => this.reports.push(report),
      unrouted: (report) => this.unrouted.push(report),
    });
    this.router = new Router({
      sharedAdmission: { slots: this.slots, lingering: this.lingering },
      observer: reporter,
      ident: () => ident,
      deadlineMs,
    });
    const dataPlane = new DataPlane({ maxPipes: 0, onProblem: assert.fail, onLost: assert.fail });
    this.listeners = new ListenerPool((...client) => {
      this.accepted += 1;
      this.router.accept(...client);
    }, dataPlane);
  }

  static async open(options: SharedFrontOptions): Promise<SharedListener> {
    const address = options.isEverywhere ? {} : { address: "127.0.0.1" };
    const shared = new SharedListener({ ...address, port: await freePort() }, options);
    using trial = await shared.listeners.bind([{ service: "any", listener: shared.listenPort }]);
    trial.commit();
    shared.lead(options.services);
    return shared;
  }

  lead(services: SharedFrontOptions["services"]): void {
    this.listeners.setRoutes(Object.entries(services).map(([name, sharer]) => this.#openingOf(name, sharer)));
  }

  /** @param from source address; default: the kernel's choice */
  connect(from?: string): Peer {
    return connecting(this.listenPort.port, "127.0.0.1", from);
  }

  /** Sends bytes, and waits until a service has the client. */
  async guest(data: string | Buffer, client: Peer = this.connect()): Promise<Guest> {
    const before = this.guests.length;
    client.send(data);
    await eventually("a service has the client", () => this.guests.length > before);
    return this.guests.at(-1) as Guest;
  }

  /** Waits until `count` clients are rejected without a route. @returns the reasons */
  async reasons(count: number): Promise<UnroutedReason[]> {
    await eventually(`${count} clients without a route`, () => this.unrouted.length >= count);
    return this.unrouted.map(({ error }) => error.reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listeners.close();
    await this.router.end();
  }

  #openingOf(service: string, { names, receive = [], monitors = [] }: Sharer): RouteEntry {
    const handler: Handler = {
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
    const admission = openAdmission({ slots: this.slots, monitors });
    const route = { service, listener: formatListenAddress(this.listenPort), admission, handler, connections: traffic };
    return { listener: this.listenPort, route, names, receive, monitors };
  }
}
