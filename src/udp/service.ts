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
  /** The UDP ports of the service. */
  readonly ports: readonly ServicePort[];
  readonly limits: UdpPolicy;
  /** Returns a number that is unique among all clients of wakeport. */
  readonly nextId: () => number;
}

/** One UDP port of a service. */
export interface UdpListener {
  readonly listener: ListenAddress;
  /** Binds the port. @param fd a bound socket to use instead @throws BindError */
  open(fd?: number): Promise<void>;
  /** Denies new clients, and closes the socket when the port's flows have ended. Idempotent. */
  close(): void;
}

/** The UDP side of one service: its listeners and their common flow table. */
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
        return owner.admit() ? owner : undefined;
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
   * Takes over sockets that are bound to this service's addresses, from other services and from `fresh`. They stay bound.
   * Flows of the other services can send no more answers through them.
   */
  takeOver(others: readonly UdpService[], fresh: readonly UdpListenerSocket[] = []): void {
    for (const own of this.#listeners) {
      const socket =
        others.map((other) => other.#release(own.address)).find((released) => released !== undefined) ??
        fresh.find(({ name }) => name === own.socket.name);
      if (socket === undefined) continue;
      socket.setReceiver(own.receiver);
      own.socket = socket;
    }
  }

  /** Returns whether this service has a socket bound to the address. */
  isListeningOn(listener: ListenAddress): boolean {
    return this.#listeners.some(({ address, socket }) => socket.isOpen && isDeepStrictEqual(address, listener));
  }

  /** Ends all flows at once. Resolves when they have ended and the ports are free. */
  async close(): Promise<void> {
    await this.#flows.close();
    for (const { socket } of this.#listeners) socket.close();
  }

  #release(listener: ListenAddress): UdpListenerSocket | undefined {
    if (!this.isListeningOn(listener)) return undefined;
    const index = this.#listeners.findIndex(({ address }) => isDeepStrictEqual(address, listener));
    return this.#listeners.splice(index, 1)[0]?.socket;
  }

  #listener(service: string, { address: host, listen: port, target }: ServicePort): UdpListener {
    const flows = this.#flows;
    const address: ListenAddress = { port, protocol: "udp", ...(host !== undefined && { address: host }) };
    const receiver: UdpReceiver = {
      onDatagram: (datagram, sender) => flows.receive(binding, datagram, sender),
      onUnsent: () => flows.countUnsent(),
    };
    const own: OwnListener = {
      address,
      receiver,
      socket: new UdpListenerSocket({ service, listener: address, ...receiver }),
    };
    this.#listeners.push(own);
    const isOwned = (): boolean => this.#listeners.includes(own);
    const binding: ListenerBinding = {
      name: own.socket.name,
      targetPort: target,
      isTftp: port === TFTP_PORT || target === TFTP_PORT,
      answer: (datagram, client) => isOwned() && own.socket.answer(datagram, client),
    };
    return {
      listener: address,
      open: (fd) => own.socket.open(fd),
      close: () => void flows.drain(binding).then(() => isOwned() && own.socket.close()),
    };
  }
}

/** A listener until another service takes over its socket. */
interface OwnListener {
  readonly address: ListenAddress;
  readonly receiver: UdpReceiver;
  socket: UdpListenerSocket;
}
