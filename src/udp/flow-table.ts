import type { UdpPolicy } from "../config/config.ts";
import type { Meter } from "../net/relay.ts";
import { ranks, type Slot, type SlotError, Slots } from "../proxy/admission/slots.ts";
import { type DatagramCount, type DropReason, noDatagrams } from "./datagrams.ts";
import { FirstDatagram, IcmpBudget } from "./first-datagram.ts";
import { Flow, type FlowOwner, type TargetPort } from "./flow.ts";
import type { Sender } from "./listener.ts";
import { Pacer } from "./pacer.ts";

/** How long the datagrams of a client are dropped that could not be served. */
const LINGER_MS = 1_000;

export interface FlowTableOptions {
  readonly limits: UdpPolicy;
  /** Decides about a client that has no flow yet. @returns undefined to turn it away, without a word */
  readonly admit: (client: Sender, way: ListenerBinding) => FlowOwner | undefined;
  /** The holder that the flows of a client count for. */
  readonly sourceOf: (client: Sender) => string;
  readonly meter: Meter;
}

/** From a front to a port of the target. */
export interface ListenerBinding {
  /** The front, for people. */
  readonly name: string;
  readonly targetPort: number;
  /** @see Upstream.open */
  readonly isTftp: boolean;
  readonly answer: (datagram: Buffer, client: Sender) => void;
}

interface Entry {
  readonly flow: Flow;
  readonly way: ListenerBinding;
  readonly slot: Slot;
  readonly running: Promise<void>;
}

/** The flows of one service: which datagram belongs to which, and how many there may be. */
export class FlowTable {
  readonly count: DatagramCount = noDatagrams();
  readonly #options: FlowTableOptions;
  /** By front and client. */
  readonly #entries = new Map<string, Entry>();
  readonly #slots: Slots;
  readonly #targetPorts = new Map<number, TargetPort>();
  readonly #budget = new IcmpBudget();
  readonly #draining = new Set<ListenerBinding>();
  readonly #lingering = new Set<NodeJS.Timeout>();

  constructor(options: FlowTableOptions) {
    this.#options = options;
    this.#slots = new Slots({ limit: options.limits.flows, what: "flows" });
  }

  /** How many there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** A client sent a datagram to a front. */
  receive(way: ListenerBinding, datagram: Buffer, client: Sender): void {
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
  async drain(way: ListenerBinding): Promise<void> {
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

  #begin(key: string, way: ListenerBinding, client: Sender): Flow | undefined {
    const { limits, admit, sourceOf, meter } = this.#options;
    if (this.#draining.has(way)) return this.#refuse("closing");
    // Chosen before admission, which uses a token of a rate; taken after it, so that a denied client evicts no other.
    const takeSlot = this.#slots.prepare({ service: "", source: sourceOf(client) });
    if (takeSlot === undefined) return this.#refuse("flows");
    const owner = admit(client, way);
    if (owner === undefined) return this.#refuse("denied");
    const slot = takeSlot();
    const flow = new Flow({
      owner,
      targetPort: this.#targetPort(way.targetPort),
      isTftp: way.isTftp,
      timeoutMs: limits.flowTimeoutMs,
      heldBytes: limits.heldBytes,
      answer: (answer) => way.answer(answer, client),
      count: this.count,
      meter,
    });
    const entry = { flow, way, slot, running: flow.run() };
    this.#entries.set(key, entry);
    const displace = (reason: SlotError): void => {
      this.#forget(key, entry);
      flow.displace(reason);
    };
    owner.offer(() => flow.rank, displace);
    // In the flow table even a flow in use can be evicted for a source that has fewer.
    slot.offer(() => flow.rank ?? ranks.waiting, displace);
    void entry.running.then(() => this.#ended(key, entry));
    return flow;
  }

  /** One that could not be served lingers: its client will say the next word at once, and it would be no use. */
  #ended(key: string, entry: Entry): void {
    const remove = (): void => {
      this.#forget(key, entry);
      if (this.size === 0) this.#targetPorts.clear();
    };
    if (!entry.flow.hasFailed || this.#draining.has(entry.way)) return remove();
    const timer = setTimeout(() => {
      this.#lingering.delete(timer);
      remove();
    }, LINGER_MS);
    this.#lingering.add(timer);
  }

  #forget(key: string, entry: Entry): void {
    entry.slot[Symbol.dispose]();
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  #refuse(reason: DropReason): undefined {
    this.count.dropped[reason] += 1;
  }

  #targetPort(port: number): TargetPort {
    const known = this.#targetPorts.get(port);
    if (known !== undefined) return known;
    const targetPort = { port, firstDatagram: new FirstDatagram(this.#budget), pacer: new Pacer() };
    this.#targetPorts.set(port, targetPort);
    return targetPort;
  }
}
