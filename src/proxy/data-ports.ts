/**
 * Which data connections of a service belong to which of its control connections, as FTP has them: a client that is
 * being served opens more connections, on other ports.
 *
 * @see RFC 959, section 3.2
 */
import { formatIp, type Ip, isSameAddress, readIp } from "../net/ip.ts";

/** How long a reserved port is kept for a client that does not come. */
const EXPECTED_MS = 60_000;

/** What holds the target up for a control connection. */
export interface DataPortLease extends Disposable {
  /** Aborted, with the reason, when the target went down under it. */
  readonly signal: AbortSignal;
}

/** Where data connections come in. */
export interface DataListener {
  readonly port: number;
  /** Absent: every address of this machine. */
  readonly address?: string;
}

export interface ControlConnectionFacts {
  /** Where its data connections may come from: the client, and the proxy that has brought it. */
  readonly ips: readonly Ip[];
  /** Which of this machine's addresses it came in at: clients connect to that one again. */
  readonly listenAddress: string;
  /** The two ends of the connection to the target. */
  readonly upstreamAddress: string;
  readonly localAddress: string;
  /** Is given back when the control connection and all its data connections are over. */
  readonly lease: DataPortLease;
}

/** One control connection that is being served, until it is disposed of. */
export interface ControlConnection extends Disposable {
  /** Whether the service has data ports. It may have lost them since, or be no longer. */
  readonly hasPorts: boolean;
  /**
   * Reserves a data port for one connection of this client, within a minute, which is led to `targetPort` of the target.
   *
   * @returns the port, reserved until it is used, disposed of, or the control connection ends; undefined when none is free
   */
  reserve(targetPort: number): (Disposable & { readonly listener: number }) | undefined;
}

/** Where one data connection is led. To be disposed of when it is over. */
export interface DataRoute extends Disposable {
  readonly host: string;
  readonly port: number;
  /** Servers refuse data connections that come from elsewhere than their control connection. */
  readonly localAddress: string;
  /** Aborted when the target went down. */
  readonly lost: AbortSignal;
}

interface Reservation {
  readonly control: JoinedControl;
  readonly targetPort: number;
  /** Under which it is known. */
  readonly keys: readonly string[];
  /** By the clock that was given. */
  readonly until: number;
}

/** The data ports of one service, and the control connections that may use them. */
export class DataPorts {
  readonly #now: () => number;
  #listeners: readonly DataListener[] = [];
  /** Where the search for a free port goes on: one that was used a moment ago may still be on somebody's mind. */
  #next = 0;
  /** By the address of the client, in the order in which they came. */
  readonly #controls = new Map<string, Set<JoinedControl>>();
  /** By the address of the client and the port. */
  readonly #reservations = new Map<string, Reservation>();

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** From now on these are the ports, or there are none. Control connections stay. */
  configure(listeners: readonly DataListener[]): void {
    this.#listeners = listeners;
  }

  /** Takes in a control connection that is being served from now on. */
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
        for (const [key, { control }] of this.#reservations) if (control === joined) this.#reservations.delete(key);
        joined.release();
      },
    };
  }

  /** Whether a client of that address has a control connection that is being served. */
  has(ip: Ip): boolean {
    return this.#latest(formatIp(ip)) !== undefined;
  }

  /**
   * Leads a data connection that came in on `front`: as it was reserved, else to the same port of the target.
   *
   * @returns undefined when its client has no control connection
   */
  route(ip: Ip, listener: number): DataRoute | undefined {
    const source = formatIp(ip);
    const expected = this.#reservationAt(source, listener);
    if (expected !== undefined) this.#cancel(expected);
    if (expected?.control.isUp) return expected.control.route(expected.targetPort);
    return this.#latest(source)?.route(listener);
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
    const listener = this.#findFree(sources, targetPort, this.#portsFor(control));
    if (listener === undefined) return undefined;
    const keys = sources.map((source) => keyOf(source, listener));
    const expected = { control, targetPort, keys, until: this.#now() + EXPECTED_MS };
    for (const key of keys) this.#reservations.set(key, expected);
    return { listener, [Symbol.dispose]: () => this.#cancel(expected) };
  }

  #cancel(expected: Reservation): void {
    for (const key of expected.keys) if (this.#reservations.get(key) === expected) this.#reservations.delete(key);
  }

  /**
   * The same number, where that can be: another client behind the same address, whose talk nobody can read, may be told
   * a number by the server itself.
   */
  #findFree(sources: readonly string[], wanted: number, ports: readonly number[]): number | undefined {
    const isFree = (port: number): boolean =>
      sources.every((source) => this.#reservationAt(source, port) === undefined);
    if (ports.includes(wanted) && isFree(wanted)) return wanted;
    const count = ports.length;
    for (let step = 0; step < count; step += 1) {
      const port = ports[(this.#next + step) % count]!;
      if (!isFree(port)) continue;
      this.#next = (this.#next + step + 1) % count;
      return port;
    }
    return undefined;
  }

  /** Those at the address that its client knows. Where none are, somebody else leads it to the others. */
  #portsFor({ listenAddress }: JoinedControl): readonly number[] {
    const near = this.#listeners.filter(({ address }) => isAt(listenAddress, address));
    return [...new Set((near.length > 0 ? near : this.#listeners).map(({ port }) => port))];
  }

  #reservationAt(source: string, port: number): Reservation | undefined {
    const expected = this.#reservations.get(keyOf(source, port));
    return expected !== undefined && expected.until > this.#now() ? expected : undefined;
  }
}

/** A control connection with the data connections that hang on it: together they hold the target. */
class JoinedControl {
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

/** Whether what listens at `listened` is to be had at that address. */
function isAt(address: string, listened: string | undefined): boolean {
  if (listened === undefined || isSameAddress(address, listened)) return true;
  // Where it is written, "::" is for IPv6 alone.
  const families: Readonly<Record<string, string>> = { "0.0.0.0": "ipv4", "::": "ipv6" };
  return families[listened] !== undefined && families[listened] === readIp(address)?.family;
}

function keyOf(source: string, port: number): string {
  return `${source} ${port}`;
}
