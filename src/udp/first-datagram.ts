import { isIP } from "node:net";
import { Semaphore } from "../async/semaphore.ts";
import { delay } from "../async/wait.ts";
import { TokenBucket } from "../proxy/admission/token-bucket.ts";

/** Pause between two attempts on this machine's loopback: a twentieth of the elapsed time, within these limits. */
const MIN_LOOPBACK_MS = 5;
const MAX_LOOPBACK_MS = 250;

/**
 * Outside of loopback, container networks included, Linux sends an ICMP error to one address six times in a row, then
 * once a second. Attempts stay below this rate, because a missing refusal looks like an accepted datagram.
 */
const ICMP_BURST = 5;
const ICMP_INTERVAL_MS = 1_100;
/** First pause on other interfaces. Doubling it spreads the burst over the first second. */
const FIRST_PAUSE_MS = 40;

/** Returns the ICMP errors that the target's kernel may still send to wakeport, for all ports of the target together. */
export function icmpBudget(): TokenBucket {
  return new TokenBucket({ count: ICMP_BURST, perMs: ICMP_BURST * ICMP_INTERVAL_MS }, performance.now());
}

/**
 * Finds out whether a port of the target accepts datagrams, for all flows to it. One flow repeats its first datagram
 * until it is not refused, while the other flows wait: see docs/design/udp.md.
 */
export class FirstDatagram {
  readonly #semaphore = new Semaphore(1);
  readonly #budget: TokenBucket;
  #isOpen = false;

  /** @param budget shared by all ports of the target */
  constructor(budget: TokenBucket) {
    this.#budget = budget;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The target was lost: the next flow must repeat its first datagram again. */
  reset(): void {
    this.#isOpen = false;
  }

  /**
   * Waits until the port accepts datagrams. Calls `send` repeatedly, unless another flow does so already.
   *
   * @param host the target's host or IP address
   * @param send sends the caller's first datagram, and returns whether it was accepted
   * @returns whether a datagram of the caller was accepted; false if another flow found the port open
   * @throws the reason of `signal`; the next waiting flow then continues
   */
  async waitUntilAccepted(
    host: string,
    send: (signal: AbortSignal) => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (this.#isOpen) return false;
    using _turn = await this.#semaphore.acquire(signal);
    const isLocal = isLoopback(host);
    const startedAt = performance.now();
    for (let pauseMs = FIRST_PAUSE_MS; !this.#isOpen; pauseMs = Math.min(2 * pauseMs, ICMP_INTERVAL_MS)) {
      if (!isLocal) await this.#takeToken(signal);
      this.#isOpen = await send(signal);
      if (this.#isOpen) return true;
      const share = (performance.now() - startedAt) / 20;
      await delay(isLocal ? Math.max(MIN_LOOPBACK_MS, Math.min(share, MAX_LOOPBACK_MS)) : pauseMs, signal);
    }
    return false;
  }

  async #takeToken(signal: AbortSignal): Promise<void> {
    const waitMs = (): number => this.#budget.waitMs(performance.now());
    for (let ms = waitMs(); ms > 0; ms = waitMs()) await delay(ms, signal);
    this.#budget.take(performance.now());
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
