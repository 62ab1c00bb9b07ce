/**
 * Assigns the data connections of a service to its control connections, as in FTP: a served client opens more
 * connections, on other ports.
 *
 * @see RFC 959, section 3.2
 */
import { formatIp, type Ip, isSameAddress, readIp } from "../net/ip.ts";

/** Time until an unused reservation ends. */
const RESERVED_MS = 60_000;

/** The lease of a control connection on its target. */
export interface DataPortLease extends Disposable {
  /** Aborted, with the reason, when the target goes down. */
  readonly signal: AbortSignal;
}

export interface DataListener {
  readonly port: number;
  /** Absent: all addresses of this machine. */
  readonly address?: string;
}

export interface ControlConnectionFacts {
  /** Addresses from which data connections may come: the client, and the proxy in front of it. */
  readonly ips: readonly Ip[];
  /** The local address that the client connected to; it connects its data connections to the same one. */
  readonly listenAddress: string;
  /** The two ends of the connection to the target. */
  readonly upstreamAddress: string;
  readonly localAddress: string;
  /** Disposed when the control connection and all its data connections are closed. */
  readonly lease: DataPortLease;
}

/** One served control connection, until it is disposed. */
export interface ControlConnection extends Disposable {
  /** Whether the service has data ports now; a reload may have removed them. */
  readonly hasPorts: boolean;
  /**
   * Reserves a data port for one connection of this client, for 60 s, which is routed to `targetPort` of the target.
   *
   * @returns the port, reserved until it is used or disposed, or the control connection ends; undefined if none is free
   */
  reserve(targetPort: number): (Disposable & { readonly listener: number }) | undefined;
}

/** The route of one data connection. The caller disposes it when the data connection is closed. */
export interface DataRoute extends Disposable {
  readonly host: string;
  readonly port: number;
  /** Servers reject a data connection from another address than that of its control connection. */
  readonly localAddress: string;
  /** Aborted when the target goes down. */
  readonly lost: AbortSignal;
}

interface Reservation {
  readonly targetPort: number;
  readonly until: number;
}

/** The data ports of one service, and the control connections that may use them. */
export class DataPorts {
  readonly #now: () => number;
  #listeners: readonly DataListener[] = [];
  /** Start of the next search. A port that was used a moment ago comes last, because a late client may still use it. */
  #next = 0;
  /** By client address, oldest first. */
  readonly #controls = new Map<string, Set<JoinedControl>>();

  /** @param now milliseconds of a monotonic clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Replaces the data ports. Control connections stay. */
  configure(listeners: readonly DataListener[]): void {
    this.#listeners = listeners;
  }

  /** Adds a control connection that is served from now on. */
  join(facts: ControlConnectionFacts): ControlConnection {
    const sources = [...new Set(facts.ips.map(formatIp))];
    const joined = new JoinedControl(facts);
    for (const source of sources) this.#controls.set(source, (this.#controls.get(source) ?? new Set()).add(joined));
    let isOver = false;
    const hasPorts = (): boolean => this.#listeners.length > 0;
    return {
      get hasPorts() {
        return hasPorts();
      },
      reserve: (targetPort) => (isOver ? undefined : this.#reserve(sources, joined, targetPort)),
      [Symbol.dispose]: () => {
        if (isOver) return;
        isOver = true;
        for (const source of sources) this.#remove(source, joined);
        joined.release();
      },
    };
  }

  /** Whether a client with this address has a served control connection. */
  has(ip: Ip): boolean {
    return this.#latest(formatIp(ip)) !== undefined;
  }

  /**
   * Routes a data connection: as reserved, otherwise to the port of the same number on the target.
   *
   * @returns undefined if the client has no control connection
   */
  route(ip: Ip, port: number): DataRoute | undefined {
    const source = formatIp(ip);
    const reserving = this.#reservingAt(source, port);
    const targetPort = reserving?.reservations.get(port)?.targetPort;
    reserving?.reservations.delete(port);
    if (reserving?.isUp && targetPort !== undefined) return reserving.route(targetPort);
    return this.#latest(source)?.route(port);
  }

  #latest(source: string): JoinedControl | undefined {
    return [...(this.#controls.get(source) ?? [])].findLast(({ isUp }) => isUp);
  }

  #remove(source: string, control: JoinedControl): void {
    const ofSource = this.#controls.get(source);
    ofSource?.delete(control);
    if (ofSource?.size === 0) this.#controls.delete(source);
  }

  #reserve(
    sources: readonly string[],
    control: JoinedControl,
    targetPort: number,
  ): ReturnType<ControlConnection["reserve"]> {
    const port = this.#findFree(sources, targetPort, this.#portsFor(control));
    if (port === undefined) return undefined;
    const { reservations } = control;
    const reservation = { targetPort, until: this.#now() + RESERVED_MS };
    reservations.set(port, reservation);
    const cancel = (): void => {
      if (reservations.get(port) === reservation) reservations.delete(port);
    };
    return { listener: port, [Symbol.dispose]: cancel };
  }

  /**
   * Prefers the port of the same number: on an encrypted control connection the server itself sends the number to its
   * client, and another client behind the same address must not get in between.
   */
  #findFree(sources: readonly string[], wanted: number, ports: readonly number[]): number | undefined {
    const isFree = (port: number): boolean => sources.every((source) => this.#reservingAt(source, port) === undefined);
    if (ports.includes(wanted) && isFree(wanted)) return wanted;
    const index = ports.findIndex((_, step) => isFree(ports[(this.#next + step) % ports.length]!));
    if (index < 0) return undefined;
    const found = (this.#next + index) % ports.length;
    this.#next = (found + 1) % ports.length;
    return ports[found];
  }

  /** Returns the ports at the address that the client knows, or all ports if that address has no port: a proxy may connect. */
  #portsFor({ listenAddress }: JoinedControl): readonly number[] {
    const near = this.#listeners.filter(({ address }) => isAt(listenAddress, address));
    return [...new Set((near.length > 0 ? near : this.#listeners).map(({ port }) => port))];
  }

  /** Returns the control connection of a client that has reserved the port. */
  #reservingAt(source: string, port: number): JoinedControl | undefined {
    const hasReserved = ({ reservations }: JoinedControl): boolean =>
      (reservations.get(port)?.until ?? 0) > this.#now();
    return [...(this.#controls.get(source) ?? [])].find(hasReserved);
  }
}

/** A control connection and its data connections, which share the lease on the target. */
class JoinedControl {
  /** By data port. */
  readonly reservations = new Map<number, Reservation>();
  readonly #facts: ControlConnectionFacts;
  #users = 1;

  constructor(facts: ControlConnectionFacts) {
    this.#facts = facts;
  }

  get listenAddress(): string {
    return this.#facts.listenAddress;
  }

  get isUp(): boolean {
    return !this.#facts.lease.signal.aborted;
  }

  route(port: number): DataRoute {
    const { upstreamAddress: host, localAddress, lease } = this.#facts;
    this.#users += 1;
    let isOver = false;
    return {
      host,
      port,
      localAddress,
      lost: lease.signal,
      [Symbol.dispose]: () => {
        if (!isOver) this.release();
        isOver = true;
      },
    };
  }

  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#facts.lease[Symbol.dispose]();
  }
}

/** Whether a listener with the configured address accepts connections to `address`. */
function isAt(address: string, configured: string | undefined): boolean {
  if (configured === undefined || isSameAddress(address, configured)) return true;
  // In a configuration "::" is for IPv6 only.
  const families: Readonly<Record<string, string>> = { "0.0.0.0": "ipv4", "::": "ipv6" };
  return families[configured] !== undefined && families[configured] === readIp(address)?.family;
}
