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
export interface DataRouteLease extends Disposable {
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
  readonly hold: DataRouteLease;
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
  expect(targetPort: number): (Disposable & { readonly listener: number }) | undefined;
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

interface Expected {
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
  readonly #expected = new Map<string, Expected>();

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
      expect: (targetPort) => (isOver ? undefined : this.#expect(sources, joined, targetPort)),
      [Symbol.dispose]: () => {
        if (isOver) return;
        isOver = true;
        for (const source of sources) this.#leave(source, joined);
        for (const [key, { control }] of this.#expected) if (control === joined) this.#expected.delete(key);
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
  setTarget(ip: Ip, listener: number): DataRoute | undefined {
    const source = formatIp(ip);
    const expected = this.#expectedAt(source, listener);
    if (expected !== undefined) this.#forget(expected);
    if (expected?.control.isUp) return expected.control.route(expected.targetPort);
    return this.#latest(source)?.route(listener);
  }

  #latest(source: string): JoinedControl | undefined {
    return [...(this.#controls.get(source) ?? [])].findLast(({ isUp }) => isUp);
  }

  #leave(source: string, control: JoinedControl): void {
    const ofSource = this.#controls.get(source);
    ofSource?.delete(control);
    if (ofSource?.size === 0) this.#controls.delete(source);
  }

  #expect(
    sources: readonly string[],
    control: JoinedControl,
    targetPort: number,
  ): ReturnType<ControlConnection["expect"]> {
    const listener = this.#free(sources, targetPort, this.#portsFor(control));
    if (listener === undefined) return undefined;
    const keys = sources.map((source) => keyOf(source, listener));
    const expected = { control, targetPort, keys, until: this.#now() + EXPECTED_MS };
    for (const key of keys) this.#expected.set(key, expected);
    return { listener, [Symbol.dispose]: () => this.#forget(expected) };
  }

  #forget(expected: Expected): void {
    for (const key of expected.keys) if (this.#expected.get(key) === expected) this.#expected.delete(key);
  }

  /**
   * The same number, where that can be: another client behind the same address, whose talk nobody can read, may be told
   * a number by the server itself.
   */
  #free(sources: readonly string[], wanted: number, ports: readonly number[]): number | undefined {
    const isFree = (port: number): boolean => sources.every((source) => this.#expectedAt(source, port) === undefined);
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

  #expectedAt(source: string, port: number): Expected | undefined {
    const expected = this.#expected.get(keyOf(source, port));
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
    return !this.#facts.hold.signal.aborted;
  }

  route(port: number): DataRoute {
    const { upstreamAddress: host, localAddress, hold } = this.#facts;
    this.#users += 1;
    let isOver = false;
    return {
      host,
      port,
      localAddress,
      lost: hold.signal,
      [Symbol.dispose]: () => {
        if (!isOver) this.release();
        isOver = true;
      },
    };
  }

  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#facts.hold[Symbol.dispose]();
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
