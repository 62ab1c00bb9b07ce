import type { UdpPolicy } from "../config/config.ts";
import type { Meter } from "../net/relay.ts";
import { ranks, type Slot, type SlotError, Slots } from "../proxy/admission/slots.ts";
import { type DatagramCount, type DropReason, noDatagrams } from "./datagrams.ts";
import { FirstDatagram, icmpBudget } from "./first-datagram.ts";
import { Flow, type FlowOwner, type TargetPort } from "./flow.ts";
import type { Sender } from "./listener.ts";
import { Pacer } from "./pacer.ts";

/** A client that was not served gets no new flow for this time: its next datagrams would start the target at once. */
const FAILED_MS = 1_000;

export interface FlowTableOptions {
  readonly limits: UdpPolicy;
  /** Admits a client that has no flow yet. @returns undefined if the client is denied */
  readonly admit: (client: Sender, binding: ListenerBinding) => FlowOwner | undefined;
  /** Returns the slot holder for the flows of a client. */
  readonly sourceOf: (client: Sender) => string;
  readonly meter: Meter;
}

/** A listener and the port of the target that it belongs to. */
export interface ListenerBinding {
  /** Name of the listener for messages. */
  readonly name: string;
  readonly targetPort: number;
  /** @see UpstreamOptions.isTftp */
  readonly isTftp: boolean;
  readonly answer: (datagram: Buffer, client: Sender) => void;
}

interface Entry {
  readonly flow: Flow;
  readonly binding: ListenerBinding;
  readonly slot: Slot;
  readonly running: Promise<void>;
}

/** The flows of one service: assigns datagrams to flows, and limits the number of flows. */
export class FlowTable {
  readonly count: DatagramCount = noDatagrams();
  readonly #options: FlowTableOptions;
  /** By listener and client. */
  readonly #entries = new Map<string, Entry>();
  readonly #slots: Slots;
  readonly #targetPorts = new Map<number, TargetPort>();
  readonly #budget = icmpBudget();
  readonly #draining = new Set<ListenerBinding>();
  readonly #failedTimers = new Set<NodeJS.Timeout>();

  constructor(options: FlowTableOptions) {
    this.#options = options;
    this.#slots = new Slots({ limit: options.limits.flows, what: "flows" });
  }

  /** Number of flows. */
  get size(): number {
    return this.#entries.size;
  }

  /** Handles a datagram that a client sent to a listener. */
  receive(binding: ListenerBinding, datagram: Buffer, client: Sender): void {
    this.count.in += 1;
    const key = `${binding.name} ${client.address} ${client.port}`;
    const flow = this.#entries.get(key)?.flow ?? this.#open(key, binding, client);
    flow?.receive(datagram);
  }

  /** Counts an answer that could not be sent. */
  countUnsent(): void {
    this.count.dropped.unsent += 1;
  }

  /** Denies new clients of this listener. Resolves when its flows have ended. */
  async drain(binding: ListenerBinding): Promise<void> {
    this.#draining.add(binding);
    const entries = [...this.#entries.values()].filter((entry) => entry.binding === binding);
    for (const { flow } of entries) flow.drain();
    await Promise.all(entries.map(({ running }) => running));
  }

  /** Ends all flows at once. */
  async close(): Promise<void> {
    const entries = [...this.#entries.values()];
    for (const { flow } of entries) flow.close();
    await Promise.all(entries.map(({ running }) => running));
    for (const timer of this.#failedTimers) clearTimeout(timer);
    this.#failedTimers.clear();
    this.#entries.clear();
  }

  #open(key: string, binding: ListenerBinding, client: Sender): Flow | undefined {
    const { limits, admit, sourceOf, meter } = this.#options;
    if (this.#draining.has(binding)) return this.#drop("closing");
    // Chosen before admission, which uses a token of a rate; taken after it, so that a denied client evicts no other.
    const takeSlot = this.#slots.prepare({ service: "", source: sourceOf(client) });
    if (takeSlot === undefined) return this.#drop("flows");
    const owner = admit(client, binding);
    if (owner === undefined) return this.#drop("denied");
    const slot = takeSlot();
    const flow = new Flow({
      owner,
      targetPort: this.#targetPort(binding.targetPort),
      isTftp: binding.isTftp,
      timeoutMs: limits.flowTimeoutMs,
      heldBytes: limits.heldBytes,
      answer: (answer) => binding.answer(answer, client),
      count: this.count,
      meter,
    });
    const entry = { flow, binding, slot, running: flow.run() };
    this.#entries.set(key, entry);
    const evict = (reason: SlotError): void => {
      this.#remove(key, entry);
      flow.evict(reason);
    };
    owner.offer(() => flow.rank, evict);
    // In the flow table even a flow in use can be evicted for a source that has fewer.
    slot.offer(() => flow.rank ?? ranks.waiting, evict);
    void entry.running.then(() => this.#onEnd(key, entry));
    return flow;
  }

  #onEnd(key: string, entry: Entry): void {
    const remove = (): void => {
      this.#remove(key, entry);
      if (this.size === 0) this.#targetPorts.clear();
    };
    if (!entry.flow.hasFailed || this.#draining.has(entry.binding)) return remove();
    const timer = setTimeout(() => {
      this.#failedTimers.delete(timer);
      remove();
    }, FAILED_MS);
    this.#failedTimers.add(timer);
  }

  #remove(key: string, entry: Entry): void {
    entry.slot[Symbol.dispose]();
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  #drop(reason: DropReason): undefined {
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
