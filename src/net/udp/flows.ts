import type { UdpPolicy } from "../../config/config.ts";
import type { Meter } from "../relay.ts";
import { type DatagramCount, type DropReason, noDatagrams } from "./datagrams.ts";
import { Flow, type Passage, type Visit } from "./flow.ts";
import type { Sender } from "./front.ts";
import { Knocker, RefusalBudget } from "./knocker.ts";
import { Pace } from "./pace.ts";

/** A flow that has been silent for this long makes room for a new one when all are in use. */
const DISPLACED_AFTER_MS = 1_000;
/** How many are looked at to find one, for each newcomer. */
const LOOKED_AT = 16;
/** How long the datagrams of a client are dropped that could not be served. */
const LINGER_MS = 1_000;

export interface FlowsOptions {
  readonly limits: UdpPolicy;
  /** Decides about a client that has no flow yet. @returns undefined to turn it away, without a word */
  readonly admit: (client: Sender, way: Way) => Visit | undefined;
  readonly meter: Meter;
}

/** From a front to a port of the target. */
export interface Way {
  /** The front, for people. */
  readonly name: string;
  readonly targetPort: number;
  readonly answer: (datagram: Buffer, client: Sender) => void;
}

interface Entry {
  readonly flow: Flow;
  readonly way: Way;
  readonly running: Promise<void>;
}

/** The flows of one service: which datagram belongs to which, and how many there may be. */
export class Flows {
  readonly count: DatagramCount = noDatagrams();
  readonly #options: FlowsOptions;
  /** By front and client. Those at its beginning have not been looked at for longest. */
  readonly #entries = new Map<string, Entry>();
  readonly #passages = new Map<number, Passage>();
  readonly #budget = new RefusalBudget();
  readonly #draining = new Set<Way>();
  readonly #lingering = new Set<NodeJS.Timeout>();

  constructor(options: FlowsOptions) {
    this.#options = options;
  }

  /** How many there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** A client sent a datagram to a front. */
  receive(way: Way, datagram: Buffer, client: Sender): void {
    this.count.in += 1;
    const key = `${way.name} ${client.address} ${client.port}`;
    const flow = this.#entries.get(key)?.flow ?? this.#begin(key, way, client);
    flow?.take(datagram);
  }

  /** An answer could not be sent. */
  unsent(): void {
    this.count.dropped.unsent += 1;
  }

  /** Admits nobody from this front any more; resolves when the flows that there are have ended. */
  async drain(way: Way): Promise<void> {
    this.#draining.add(way);
    const entries = [...this.#entries.values()].filter((entry) => entry.way === way);
    for (const { flow } of entries) flow.drain();
    await Promise.all(entries.map(({ running }) => running));
  }

  /** Ends all at once. */
  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    for (const { flow } of entries) flow.end("drained");
    await Promise.all(entries.map(({ running }) => running));
    for (const timer of this.#lingering) clearTimeout(timer);
    this.#lingering.clear();
    this.#entries.clear();
  }

  #begin(key: string, way: Way, client: Sender): Flow | undefined {
    const { limits, admit, meter } = this.#options;
    if (this.#draining.has(way)) return this.#refuse("closing");
    const silent = this.size < limits.flows ? undefined : this.#silentOne();
    if (this.size >= limits.flows && silent === undefined) return this.#refuse("flows");
    const visit = admit(client, way);
    if (visit === undefined) return this.#refuse("denied");
    if (silent !== undefined) this.#displace(silent);
    const flow = new Flow({
      visit,
      passage: this.#passage(way.targetPort),
      timeoutMs: limits.flowTimeoutMs,
      heldBytes: limits.heldBytes,
      answer: (answer) => way.answer(answer, client),
      count: this.count,
      meter,
    });
    const entry = { flow, way, running: flow.run() };
    this.#entries.set(key, entry);
    void entry.running.then(() => this.#ended(key, entry));
    return flow;
  }

  /** One that could not be served lingers: its client will say the next word at once, and it would be no use. */
  #ended(key: string, entry: Entry): void {
    const remove = (): void => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      if (this.size === 0) this.#passages.clear();
    };
    if (!entry.flow.hasFailed || this.#draining.has(entry.way)) return remove();
    const timer = setTimeout(() => {
      this.#lingering.delete(timer);
      remove();
    }, LINGER_MS);
    this.#lingering.add(timer);
  }

  /** The key of one that has been silent for a while. Those that are passed over go to the end of the line. */
  #silentOne(): string | undefined {
    let looks = LOOKED_AT;
    for (const [key, entry] of this.#entries) {
      if (entry.flow.silentMs >= DISPLACED_AFTER_MS) return key;
      looks -= 1;
      if (looks === 0) return undefined;
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return undefined;
  }

  #displace(key: string): void {
    this.#entries.get(key)?.flow.end("displaced");
    this.#entries.delete(key);
  }

  #refuse(reason: DropReason): undefined {
    this.count.dropped[reason] += 1;
  }

  #passage(port: number): Passage {
    const known = this.#passages.get(port);
    if (known !== undefined) return known;
    const passage = { port, knocker: new Knocker(this.#budget), pace: new Pace() };
    this.#passages.set(port, passage);
    return passage;
  }
}
