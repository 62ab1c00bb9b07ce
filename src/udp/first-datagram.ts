import { isIP } from "node:net";
import { Semaphore } from "../async/semaphore.ts";
import { delay } from "../async/wait.ts";
import type { SendResult } from "./upstream.ts";

/** On this machine's own loopback, between two knocks: a twentieth of what has passed, as probes have it. */
const MIN_DELAY_MS = 5;
const MAX_DELAY_MS = 250;

/**
 * Elsewhere, a container's network among it, Linux tells one sender of refusals six times in a row and then once a
 * second. To knock more often than that would be to take silence for a welcome. These pauses, each twice as long as the
 * one before it, use the six up in the first second.
 */
const FIRST_PAUSE_MS = 40;
const REFUSALS = 5;
const REFUSAL_MS = 1_100;

/**
 * Whether the target takes datagrams, for all flows of one activation. "Up" does not say it: the program may still be
 * about to open its port, and what comes before that is refused and lost. So the first datagram knocks alone, again and
 * again until it is not refused, and all others wait behind it.
 */
export class FirstDatagram {
  readonly #line = new Semaphore(1);
  readonly #budget: IcmpBudget;
  #isOpen = false;

  /** @param budget of refusals that the target's machine has for us; one for all ports of the target */
  constructor(budget: IcmpBudget) {
    this.#budget = budget;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** From now on one must knock again. */
  reset(): void {
    this.#isOpen = false;
  }

  /**
   * Waits until the port is open, and knocks when it is one's turn.
   *
   * @param host of the target
   * @returns what the own knock met; undefined when another one found it open
   * @throws the reason of `signal`; then the next in line knocks
   */
  async waitUntilAccepted(
    host: string,
    send: (signal: AbortSignal) => Promise<SendResult>,
    signal: AbortSignal,
  ): Promise<SendResult | undefined> {
    if (this.#isOpen) return undefined;
    using _place = await this.#line.acquire(signal);
    const isNear = isLoopback(host);
    const began = performance.now();
    for (let pauseMs = FIRST_PAUSE_MS; !this.#isOpen; pauseMs = Math.min(2 * pauseMs, REFUSAL_MS)) {
      if (!isNear) await this.#budget.take(signal);
      const result = await send(signal);
      if (result !== "refused") {
        this.#isOpen = true;
        return result;
      }
      const nearMs = Math.max(MIN_DELAY_MS, Math.min((performance.now() - began) / 20, MAX_DELAY_MS));
      await delay(isNear ? nearMs : pauseMs, signal);
    }
    return undefined;
  }
}

/** How many knocks would be answered with a refusal, as the kernel at the other end counts. */
export class IcmpBudget {
  #tokens = REFUSALS;
  #at = performance.now();

  /** Waits until there is one. @throws the reason of `signal` */
  async take(signal: AbortSignal): Promise<void> {
    this.#refill();
    // Taken before the wait: whoever comes meanwhile stands behind.
    this.#tokens -= 1;
    if (this.#tokens < 0) await delay(-this.#tokens * REFUSAL_MS, signal);
  }

  #refill(): void {
    const now = performance.now();
    this.#tokens = Math.min(REFUSALS, this.#tokens + (now - this.#at) / REFUSAL_MS);
    this.#at = now;
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
