import type { ContainerEvent } from "../docker/events.ts";

/** How long a replacement is expected after another client has stopped a container. Compose takes about 1 s. */
const SETTLE_MS = 2_000;

/** SIGHUP, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH: they rarely end a program. */
const harmless: ReadonlySet<string> = new Set(["1", "10", "12", "18", "28"]);

/**
 * Follows whether wakeport or another client of the engine stops a container. If another client stops, renames or removes
 * it, a replacement may follow (`docker compose up --force-recreate`), and a start of the old container would disturb it.
 */
export class ReplacementWatch {
  /** The container that wakeport stopped, until its next start. */
  #ownStop: string | undefined;
  /** The container that another client is stopping or has stopped. */
  #foreignStop: string | undefined;
  /** The last container that may be replaced. */
  #replaced: string | undefined;
  #settledAt = 0;

  /** Records that wakeport is about to stop this container. */
  expectOwnStop(id: string): void {
    this.#ownStop = id;
  }

  /** Handles an event of the target's container. */
  onEvent({ action, id, attributes }: ContainerEvent): void {
    switch (action) {
      case "kill":
        if (id !== this.#ownStop && !harmless.has(attributes["signal"] ?? "")) this.#foreignStop = id;
        return;
      case "die":
        if (id === this.#foreignStop) this.expectReplacement(id);
        return;
      case "rename":
      case "destroy":
        // Another client may also replace a container that wakeport stopped.
        return this.expectReplacement(id);
      case "start":
        if (id === this.#ownStop) this.#ownStop = undefined;
        this.#foreignStop = undefined;
        this.#settledAt = 0;
        return;
    }
  }

  /** Records that another client stopped or removed this container, or that it does not exist any more. */
  expectReplacement(id: string): void {
    this.#replaced = id;
    this.#settledAt = performance.now() + SETTLE_MS;
  }

  /** Whether this is a container other than the replaced one. */
  isReplacement(id: string): boolean {
    return id !== this.#replaced;
  }

  /** Whether another client requested the stop of this container. */
  isStoppedByOthers(id: string): boolean {
    return this.#foreignStop === id;
  }

  /** Whether wakeport or another client requested the stop of this container. */
  isStopRequested(id: string): boolean {
    return this.#ownStop === id || this.#foreignStop === id;
  }

  /** Remaining time to wait for a replacement before the old container is started, in milliseconds; 0: none. */
  get waitMs(): number {
    return Math.max(0, this.#settledAt - performance.now());
  }
}
