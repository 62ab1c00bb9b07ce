import type { ContainerEvent } from "../docker/events.ts";

/** How long after somebody took a container away its successor may be expected: compose takes about a second. */
const SETTLE_MS = 2_000;

/** SIGHUP, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH: sent to tell a program something, rarely to end it. */
const harmless: ReadonlySet<string> = new Set(["1", "10", "12", "18", "28"]);

/**
 * Follows who ends a container: we, or somebody else. Somebody who stops, renames or removes it may be about to replace
 * it (`docker compose up --force-recreate`), and must not be disturbed by a start of the old one meanwhile.
 */
export class ReplacementWatch {
  /** The container that we put away; its end is ours until somebody starts it again. */
  #ours: string | undefined;
  /** The container that somebody else is ending, or has ended. */
  #theirs: string | undefined;
  #gone: string | undefined;
  #settledAt = 0;

  /** We are about to put this container away. */
  expectOwnStop(id: string): void {
    this.#ours = id;
  }

  /** Takes note of an event that concerns the target. */
  note({ action, id, attributes }: ContainerEvent): void {
    switch (action) {
      case "kill":
        if (id !== this.#ours && !harmless.has(attributes["signal"] ?? "")) this.#theirs = id;
        return;
      case "die":
        if (id === this.#theirs) this.removed(id);
        return;
      case "rename":
      case "destroy":
        // One that we put away may be replaced by somebody all the same.
        return this.removed(id);
      case "start":
        if (id === this.#ours) this.#ours = undefined;
        this.#theirs = undefined;
        this.#settledAt = 0;
        return;
    }
  }

  /** Somebody took this container away, or it is not to be found any more. */
  removed(id: string): void {
    this.#gone = id;
    this.#settledAt = performance.now() + SETTLE_MS;
  }

  /** Whether this container is another one than the one that was taken away last. */
  isSuccessor(id: string): boolean {
    return id !== this.#gone;
  }

  /** Whether somebody else asked for the end of this container. */
  stoppedByOthers(id: string): boolean {
    return this.#theirs === id;
  }

  /** Whether anybody, we or somebody else, asked for the end of this container. */
  isAsked(id: string): boolean {
    return this.#ours === id || this.#theirs === id;
  }

  /** How long to wait for a successor before the container itself is started again, in milliseconds; 0: not at all. */
  get waitMs(): number {
    return Math.max(0, this.#settledAt - performance.now());
  }
}
