/** A core of the data plane in this thread, with connections through it. */
import { arch } from "node:process";
import { Core, type CoreOptions } from "../../../src/dataplane/core.ts";
import { detachBoth } from "../../../src/dataplane/detach.ts";
import { loadSyscalls } from "../../../src/dataplane/syscalls.ts";
import type { Meter, RelayEnd } from "../../../src/net/relay.ts";
import { eventually } from "../eventually.ts";
import { type Peer, pair } from "../net/tcp.ts";

/** Turns a core once in each turn of Node's event loop. */
export class CoreLoop implements Disposable {
  readonly core: Core;
  /** By slot. */
  readonly ends = new Map<number, RelayEnd>();
  readonly meters = new Map<number, Meter>();
  #lastSlot = 0;
  #turns = 0;
  #isClosed = false;

  constructor(options: Partial<CoreOptions> = {}) {
    this.core = new Core({
      syscalls: loadSyscalls(),
      architecture: arch,
      onReceived: ({ slot, in: up, out }) => this.meters.set(slot, { in: up.received, out: out.received }),
      ...options,
      onEnd: (ended) => {
        this.ends.set(ended.slot, ended.end);
        options.onEnd?.(ended);
      },
    });
    const turn = (): void => {
      if (this.#isClosed) return;
      this.core.turn(0);
      this.#turns += 1;
      setImmediate(turn);
    };
    setImmediate(turn);
  }

  nextSlot(): number {
    this.#lastSlot += 1;
    return this.#lastSlot;
  }

  /** Waits for that many turns. */
  async hasTurned(turns: number): Promise<void> {
    const until = this.#turns + turns;
    await eventually("the core has turned", () => this.#turns >= until);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.core.close();
  }
}

/** A connection through a core, and the far end of each side. */
export class CoreLink implements Disposable {
  readonly client: Peer;
  readonly upstream: Peer;
  readonly slot: number;
  readonly #loop: CoreLoop;
  /** The core's descriptor of the client. */
  readonly #clientFd: number;

  private constructor(loop: CoreLoop, slot: number, clientFd: number, client: Peer, upstream: Peer) {
    this.#loop = loop;
    this.#clientFd = clientFd;
    this.slot = slot;
    this.client = client;
    this.upstream = upstream;
  }

  static async open(loop: CoreLoop): Promise<CoreLink> {
    const [client, upstream] = [await pair(), await pair()];
    const slot = loop.nextSlot();
    const [one, other] = detachBoth(loadSyscalls(), [client.near, upstream.near])!;
    const early = { client: { bytes: one.bytes }, upstream: { bytes: other.bytes } };
    loop.core.add({ slot, client: one.fd, upstream: other.fd, early });
    return new CoreLink(loop, slot, one.fd, client.far, upstream.far);
  }

  get meter(): Meter {
    return this.#loop.meters.get(this.slot) ?? { in: 0, out: 0 };
  }

  get end(): RelayEnd | undefined {
    return this.#loop.ends.get(this.slot);
  }

  async ended(): Promise<RelayEnd> {
    await eventually("the pair ended", () => this.end !== undefined);
    return this.end!;
  }

  /** Waits until the client has acknowledged everything, a FIN included, and the core has noticed it. */
  async isDelivered(): Promise<void> {
    await eventually("the client has acknowledged", () => loadSyscalls().sendQueue(this.#clientFd) === 0);
    await this.#loop.hasTurned(10);
  }

  /** Waits until no byte has moved for 50 ms. */
  async standsStill(): Promise<void> {
    let before = -1;
    let since = performance.now();
    await eventually("no byte moves", () => {
      const now = this.meter.in + this.meter.out;
      if (now !== before) since = performance.now();
      before = now;
      return now > 0 && performance.now() - since > 50;
    });
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.upstream[Symbol.dispose]();
  }
}
