import { isDeepStrictEqual } from "node:util";
import type { ServicePort, UdpPolicy } from "../config/config.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import type { DatagramView, DropReason } from "./datagrams.ts";
import { FlowTable, type ListenerBinding } from "./flow-table.ts";
import { UdpListenerSocket, type UdpReceiver } from "./listener.ts";
import { type FlowRoute, ServiceFlow } from "./service-flow.ts";
import { TFTP_PORT } from "./tftp.ts";

export interface UdpServiceOptions {
  readonly route: FlowRoute;
  /** Those that are for datagrams. */
  readonly ports: readonly ServicePort[];
  readonly limits: UdpPolicy;
  /** Numbers all clients of wakeport. */
  readonly nextId: () => number;
}

/** One bound port. */
export interface UdpListener {
  readonly listener: ListenAddress;
  /** @param fd a socket that is bound already @throws BindError */
  open(fd?: number): Promise<void>;
  /** Admits nobody any more. The port is free when its flows have ended. Idempotent. */
  close(): void;
}

/** The datagram side of one service: its fronts, and the flows that they share. */
export class UdpService implements DatagramView {
  readonly listeners: readonly UdpListener[];
  readonly #flows: FlowTable;
  readonly #listeners: OwnListener[] = [];

  constructor({ route, ports, limits, nextId }: UdpServiceOptions) {
    this.#flows = new FlowTable({
      limits,
      meter: route.connections.meter,
      sourceOf: ({ address }) => route.sourceOf(address),
      admit: (sender, { name }) => {
        const owner = new ServiceFlow(route, { id: nextId(), sender, listener: name });
        return owner.enter() ? owner : undefined;
      },
    });
    this.listeners = ports.map((port) => this.#listener(route.service, port));
  }

  get flows(): number {
    return this.#flows.size;
  }

  get in(): number {
    return this.#flows.count.in;
  }

  get out(): number {
    return this.#flows.count.out;
  }

  get dropped(): Readonly<Record<DropReason, number>> {
    return this.#flows.count.dropped;
  }

  /**
   * Takes the fronts that others have at the same address, and those that were bound for it: they stay bound, and what
   * comes there is for this one now. Answers to flows of the others can leave by them no more.
   */
  takeOver(others: readonly UdpService[], fresh: readonly UdpListenerSocket[] = []): void {
    for (const own of this.#listeners) {
      const listener =
        others.map((other) => other.#giveUp(own.where)).find((one) => one !== undefined) ??
        fresh.find(({ name }) => name === own.listener.name);
      if (listener === undefined) continue;
      listener.lead(own.receiver);
      own.listener = listener;
    }
  }

  /** Whether it has this front, and it is bound. */
  holds(listener: ListenAddress): boolean {
    return this.#listeners.some(({ where, listener: { isOpen } }) => isOpen && isDeepStrictEqual(where, listener));
  }

  #giveUp(listener: ListenAddress): UdpListenerSocket | undefined {
    if (!this.holds(listener)) return undefined;
    const index = this.#listeners.findIndex(({ where }) => isDeepStrictEqual(where, listener));
    return index < 0 ? undefined : this.#listeners.splice(index, 1)[0]?.listener;
  }

  /** Ends all flows at once. Resolves when they have ended, and the ports are free. */
  async close(): Promise<void> {
    await this.#flows.close();
    for (const { listener } of this.#listeners) listener.close();
  }

  #listener(service: string, { address, listen: port, target }: ServicePort): UdpListener {
    const flows = this.#flows;
    const where: ListenAddress = { port, protocol: "udp", ...(address !== undefined && { address }) };
    const receiver: UdpReceiver = {
      onDatagram: (datagram, sender) => flows.receive(way, datagram, sender),
      onUnsent: () => flows.unsent(),
    };
    const own: OwnListener = {
      where,
      receiver,
      listener: new UdpListenerSocket({ service, listener: where, ...receiver }),
    };
    this.#listeners.push(own);
    const isOurs = (): boolean => this.#listeners.includes(own);
    const way: ListenerBinding = {
      name: own.listener.name,
      targetPort: target,
      isTftp: port === TFTP_PORT || target === TFTP_PORT,
      answer: (datagram, to) => isOurs() && own.listener.answer(datagram, to),
    };
    return {
      listener: where,
      open: (fd) => own.listener.open(fd),
      close: () => void flows.drain(way).then(() => isOurs() && own.listener.close()),
    };
  }
}

/** A front that is this service's as long as nobody took it over. */
interface OwnListener {
  readonly where: ListenAddress;
  readonly receiver: UdpReceiver;
  listener: UdpListenerSocket;
}
