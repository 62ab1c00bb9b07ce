/** One random schedule of a connection: what each side sends, how fast it reads, and how it ends. */
import type net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { loadSyscalls } from "../../src/dataplane/syscalls.ts";
import { socketFd } from "../../src/net/socket-fd.ts";
import { KIB, MIB } from "./payload.ts";
import type { Random } from "./random.ts";

/** `delivered reset`: after the kernel of the next hop has all bytes. `end, reset`: a reset after the FIN. */
type Ending = "end" | "delivered reset" | "reset" | "end, reset";

export interface SidePlan {
  readonly ending: Ending;
  readonly bytes: number;
  /** Position of the first byte in the payload. */
  readonly offset: number;
  /** Pause after each received chunk in milliseconds. */
  readonly readPauseMs: number;
  /** Sizes of its writes. */
  readonly pieces: readonly number[];
}

export interface Plan {
  readonly client: SidePlan;
  readonly upstream: SidePlan;
}

export interface Schedule {
  readonly plan: Plan;
  readonly client: net.Socket;
  readonly upstream: net.Socket;
  readonly bytes: Buffer;
}

/** What one side saw. */
export interface Seen {
  /** Bytes that it has written. */
  readonly sent: number;
  readonly received: number;
  readonly isCorrupt: boolean;
  /** How the stream of the other side ended. */
  readonly end: "end" | "reset" | "open";
  /** A failed write may discard received bytes. */
  readonly hasWriteError: boolean;
  readonly hasReset: boolean;
  /** Whether the next hop had acknowledged all bytes before the reset. */
  readonly wasDelivered: boolean;
}

const LIMIT_MS = 20_000;
const DELIVERY_MS = 6_000;
const ENDINGS: readonly Ending[] = [
  ...Array<Ending>(6).fill("end"),
  "delivered reset",
  "delivered reset",
  "reset",
  "end, reset",
];
const SIZES = [0, 0, 1, 64, 5_000, 100_000, 700_000, 3 * MIB];
const PIECES = [1, 64, 1_000, 8_192, 70_000, 300_000];
const PAUSES = [0, 0, 3, 15];
/** A slower reader gets fewer bytes. */
const MAX_SLOW_BYTES = 300_000;
const PAYLOAD_OFFSETS = 512 * KIB;

export function planFrom(random: Random): Plan {
  const choose = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const side = (ending: Ending, readPauseMs: number, peerPauseMs: number): SidePlan => {
    const bytes = choose(SIZES);
    return {
      ending,
      readPauseMs,
      bytes: peerPauseMs > 3 ? Math.min(bytes, MAX_SLOW_BYTES) : bytes,
      offset: Math.floor(random() * PAYLOAD_OFFSETS),
      pieces: Array.from({ length: 8 }, () => choose(PIECES)),
    };
  };
  const [clientEnding, other] = [choose(ENDINGS), choose(ENDINGS)];
  // Two resets leave nothing to compare.
  const upstreamEnding = clientEnding.includes("reset") && other.includes("reset") ? "end" : other;
  const [clientPause, upstreamPause] = [choose(PAUSES), choose(PAUSES)];
  return {
    client: side(clientEnding, clientPause, upstreamPause),
    upstream: side(upstreamEnding, upstreamPause, clientPause),
  };
}

/** Plays both sides until each has seen the end of the other one. */
export async function play({ plan, client, upstream, bytes }: Schedule): Promise<{ client: Seen; upstream: Seen }> {
  const [one, other] = [
    new Side(client, plan.client, plan.upstream, bytes),
    new Side(upstream, plan.upstream, plan.client, bytes),
  ];
  const timer = setTimeout(() => {
    one.giveUp();
    other.giveUp();
  }, LIMIT_MS);
  await Promise.all([one.run(), other.run()]);
  clearTimeout(timer);
  return { client: one.seen, upstream: other.seen };
}

class Side {
  readonly #socket: net.Socket;
  readonly #plan: SidePlan;
  readonly #closed: Promise<void>;
  #sent = 0;
  #received = 0;
  #isCorrupt = false;
  #end: Seen["end"] = "open";
  #hasWriteError = false;
  #hasReset = false;
  #wasDelivered = false;
  readonly #bytes: Buffer;

  constructor(socket: net.Socket, plan: SidePlan, peer: SidePlan, bytes: Buffer) {
    this.#socket = socket;
    this.#plan = plan;
    this.#bytes = bytes;
    this.#closed = new Promise((resolve) => socket.once("close", () => resolve()));
    const receive = (chunk: Buffer): void => {
      const at = peer.offset + this.#received;
      if (!chunk.equals(bytes.subarray(at, at + chunk.length))) this.#isCorrupt = true;
      this.#received += chunk.length;
    };
    socket.on("data", (chunk: Buffer) => {
      if (socket.destroyed) return;
      receive(chunk);
      if (plan.readPauseMs === 0) return;
      socket.pause();
      setTimeout(() => socket.resume(), plan.readPauseMs);
    });
    socket.on("end", () => {
      this.#end = "end";
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      // Node drops what a paused stream had received before its error.
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) receive(chunk);
      if (this.#end === "open") this.#end = "reset";
      if (error.syscall === "write") this.#hasWriteError = true;
    });
    socket.resume();
  }

  get seen(): Seen {
    return {
      sent: this.#sent,
      received: this.#received,
      isCorrupt: this.#isCorrupt,
      end: this.#end,
      hasWriteError: this.#hasWriteError,
      hasReset: this.#hasReset,
      wasDelivered: this.#wasDelivered,
    };
  }

  async run(): Promise<void> {
    await this.#write();
    await this.#finish();
    await this.#closed;
  }

  giveUp(): void {
    this.#socket.destroy();
  }

  async #write(): Promise<void> {
    const { bytes, offset, pieces } = this.#plan;
    for (let turn = 0; this.#sent < bytes && this.#socket.writable; turn += 1) {
      const length = Math.min(bytes - this.#sent, pieces[turn % pieces.length]!);
      const from = offset + this.#sent;
      if (!(await this.#accepted(this.#bytes.subarray(from, from + length)))) return;
      this.#sent += length;
      if (turn % 7 === 6) await delay(turn % 20);
    }
  }

  /** Resolves when the kernel has the bytes. @returns false if the connection is gone */
  #accepted(bytes: Buffer): Promise<boolean> {
    return Promise.race([
      new Promise<boolean>((resolve) => this.#socket.write(bytes, (error) => resolve(!error))),
      this.#closed.then(() => false),
    ]);
  }

  async #finish(): Promise<void> {
    const socket = this.#socket;
    switch (this.#plan.ending) {
      case "end":
        return void socket.end();
      case "reset":
        return this.#reset();
      case "delivered reset":
        await this.#delivered();
        await delay(150);
        this.#wasDelivered = this.#sent === this.#plan.bytes && this.#queued === 0;
        return this.#reset();
      case "end, reset":
        socket.end();
        await delay(200);
        return this.#reset();
    }
  }

  async #delivered(): Promise<void> {
    const deadline = performance.now() + DELIVERY_MS;
    while (this.#queued > 0 && performance.now() < deadline) await delay(5);
  }

  /** Bytes that the next hop has not acknowledged. */
  get #queued(): number {
    return this.#socket.destroyed ? 0 : loadSyscalls().sendQueue(socketFd(this.#socket));
  }

  #reset(): void {
    if (this.#socket.destroyed) return;
    this.#hasReset = true;
    this.#socket.resetAndDestroy();
  }
}

/** Returns the differences from a connection without a relay. */
export function problemsOf(plan: Plan, seen: { readonly client: Seen; readonly upstream: Seen }): string[] {
  const hasReset = seen.client.hasReset || seen.upstream.hasReset;
  return [
    ...problemsFrom("client", plan.client, seen.client, seen.upstream, hasReset),
    ...problemsFrom("upstream", plan.upstream, seen.upstream, seen.client, hasReset),
  ];
}

/** Returns the problems with the bytes of one side. */
function problemsFrom(name: string, plan: SidePlan, from: Seen, to: Seen, hasReset: boolean): string[] {
  const problems: string[] = [];
  const got = `${to.received} of ${plan.bytes} bytes, then ${to.end}`;
  const isWhole = to.received === plan.bytes;
  if (to.isCorrupt) problems.push(`bytes of the ${name} are corrupt`);
  if (to.received > plan.bytes) problems.push(`more than the ${name} sent: ${got}`);
  if (!hasReset && (!isWhole || to.end !== "end")) problems.push(`${name} ended in good order, but ${got}`);
  if (to.hasReset) return problems;
  if (to.end === "end" && !isWhole) problems.push(`${name}'s truncated stream looks complete: ${got}`);
  if (from.hasReset) {
    if (to.end === "open") problems.push(`no end after the reset of the ${name}: ${got}`);
    if (plan.ending !== "end, reset" && to.end === "end") problems.push(`reset of the ${name} became an end: ${got}`);
    const isLost = from.wasDelivered && !isWhole && !to.hasWriteError;
    if (isLost) problems.push(`bytes before the reset of the ${name} are lost: ${got}`);
  }
  return problems;
}
