import { isDeepStrictEqual } from "node:util";
import type { ServicePort, UdpPolicy } from "../config/config.ts";
import type { Front } from "../proxy/listen/listener.ts";
import type { DatagramView, DropReason } from "./datagrams.ts";
import { Flows, type Way } from "./flow-table.ts";
import { UdpFront, type UdpReceiver } from "./listener.ts";
import { type FlowRoute, FlowVisit } from "./service-flow.ts";
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
  readonly front: Front;
  /** @param fd a socket that is bound already @throws BindError */
  open(fd?: number): Promise<void>;
  /** Admits nobody any more. The port is free when its flows have ended. Idempotent. */
  close(): void;
}

/** The datagram side of one service: its fronts, and the flows that they share. */
export class UdpService implements DatagramView {
  readonly listeners: readonly UdpListener[];
  readonly #flows: Flows;
  readonly #fronts: OwnFront[] = [];

  constructor({ route, ports, limits, nextId }: UdpServiceOptions) {
    this.#flows = new Flows({
      limits,
      meter: route.traffic.meter,
      sourceOf: ({ address }) => route.sourceOf(address),
      admit: (sender, { name }) => {
        const visit = new FlowVisit(route, { id: nextId(), sender, front: name });
        return visit.enter() ? visit : undefined;
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

  dropped(): Readonly<Record<DropReason, number>> {
    const overflow = this.#fronts.reduce((sum, { front }) => sum + front.overflowed, 0);
    return { ...this.#flows.count.dropped, overflow };
  }

  /**
   * Takes the fronts that others have at the same address, and those that were bound for it: they stay bound, and what
   * comes there is for this one now. Answers to flows of the others can leave by them no more.
   */
  takeOver(others: readonly UdpService[], fresh: readonly UdpFront[] = []): void {
    for (const own of this.#fronts) {
      const front =
        others.map((other) => other.#giveUp(own.where)).find((one) => one !== undefined) ??
        fresh.find(({ name }) => name === own.front.name);
      if (front === undefined) continue;
      front.lead(own.receiver);
      own.front = front;
    }
  }

  /** Whether it has this front, and it is bound. */
  holds(front: Front): boolean {
    return this.#fronts.some(({ where, front: { isOpen } }) => isOpen && isDeepStrictEqual(where, front));
  }

  #giveUp(front: Front): UdpFront | undefined {
    if (!this.holds(front)) return undefined;
    const index = this.#fronts.findIndex(({ where }) => isDeepStrictEqual(where, front));
    return index < 0 ? undefined : this.#fronts.splice(index, 1)[0]?.front;
  }

  /** Ends all flows at once. Resolves when they have ended, and the ports are free. */
  async close(): Promise<void> {
    await this.#flows.close();
    for (const { front } of this.#fronts) front.close();
  }

  #listener(service: string, { address, front: port, target }: ServicePort): UdpListener {
    const flows = this.#flows;
    const where: Front = { port, protocol: "udp", ...(address !== undefined && { address }) };
    const receiver: UdpReceiver = {
      onDatagram: (datagram, sender) => flows.receive(way, datagram, sender),
      onUnsent: () => flows.unsent(),
    };
    const own: OwnFront = { where, receiver, front: new UdpFront({ service, front: where, ...receiver }) };
    this.#fronts.push(own);
    const isOurs = (): boolean => this.#fronts.includes(own);
    const way: Way = {
      name: own.front.name,
      targetPort: target,
      isTftp: port === TFTP_PORT || target === TFTP_PORT,
      answer: (datagram, to) => isOurs() && own.front.answer(datagram, to),
    };
    return {
      front: where,
      open: (fd) => own.front.open(fd),
      close: () => void flows.drain(way).then(() => isOurs() && own.front.close()),
    };
  }
}

/** A front that is this service's as long as nobody took it over. */
interface OwnFront {
  readonly where: Front;
  readonly receiver: UdpReceiver;
  front: UdpFront;
}
