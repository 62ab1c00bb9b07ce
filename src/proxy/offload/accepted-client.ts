/** A client that the data plane accepted, from the connection to its target to the close. */
import type { AcceptedConnection } from "../../dataplane/plane-listener.ts";
import type { AcceptedFacts } from "../../dataplane/reports.ts";
import { formatPeer, type SocketAddress } from "../../net/addresses.ts";
import { type Ip, readIp } from "../../net/ip.ts";
import type { Meter, RelayEnd } from "../../net/relay.ts";
import { ClientGoneError } from "../outcome.ts";
import type { ConnectionFacts, ProxyObserver } from "../reports.ts";
import type { ConnectionView, ServiceConnections } from "../service-connections.ts";

/** What the clients of one port share. */
export interface OffloadRoute {
  readonly service: string;
  readonly listener: string;
  readonly connections: ServiceConnections;
  readonly observer: ProxyObserver;
  /** Returns the number of the next connection. */
  readonly nextId: () => number;
  /** Counts a client for the limits until the result is disposed, without checking them. */
  readonly count: (ip: Ip | undefined) => Disposable;
}

const CLIENT_LEFT = new ClientGoneError("the client left before its target was connected");

export class AcceptedClient implements AcceptedConnection {
  readonly #route: OffloadRoute;
  readonly #id: number;
  readonly #peer: SocketAddress;
  readonly #since: number;
  readonly #waitMs: number | undefined;
  readonly #counted: Disposable;
  readonly #onEnd: (client: AcceptedClient) => void;
  #in = 0;
  #out = 0;

  /** @param onEnd called when it no longer uses its target */
  constructor(route: OffloadRoute, { peer, since, waitMs }: AcceptedFacts, onEnd: (client: AcceptedClient) => void) {
    this.#route = route;
    this.#id = route.nextId();
    this.#peer = peer;
    this.#since = since;
    this.#waitMs = waitMs;
    this.#onEnd = onEnd;
    this.#counted = route.count(readIp(peer.address));
    route.connections.open.add(this);
    route.connections.active += 1;
    if (waitMs !== undefined) route.observer.connectionOpened(this.#facts);
  }

  get view(): ConnectionView {
    return { ...this.#facts, since: this.#since, isServed: true };
  }

  count(bytesIn: number, bytesOut: number): void {
    const { meter }: { readonly meter: Meter } = this.#route.connections;
    meter.in += bytesIn - this.#in;
    meter.out += bytesOut - this.#out;
    this.#in = bytesIn;
    this.#out = bytesOut;
  }

  end(end: RelayEnd): void {
    this.#leave();
    const waitMs = this.#waitMs;
    const result =
      waitMs === undefined
        ? ({ outcome: "client_gone", error: CLIENT_LEFT } as const)
        : ({ outcome: "relayed", end, waitMs } as const);
    this.#route.observer.connection({
      ...this.#facts,
      start: "warm",
      durationMs: Math.max(Date.now() - this.#since, waitMs ?? 0),
      bytesIn: this.#in,
      bytesOut: this.#out,
      ...result,
    });
  }

  returned(): void {
    this.#leave();
  }

  #leave(): void {
    const { connections } = this.#route;
    connections.open.delete(this);
    connections.active -= 1;
    this.#counted[Symbol.dispose]();
    this.#onEnd(this);
  }

  get #facts(): ConnectionFacts {
    const { service, listener } = this.#route;
    return { service, id: this.#id, client: formatPeer(this.#peer), listener };
  }
}
