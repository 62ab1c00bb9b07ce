import type { SleepAction } from "../activation/target.ts";
import { MAX_TIMER_MS, timerMs } from "../async/wait.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import type { ContainerEvent } from "../docker/events.ts";
import { KeptError, TargetError } from "../errors.ts";
import type { ContainerFinder } from "./container-finder.ts";
import { incarnationOf, KILLED } from "./container-incarnation.ts";
import type { ContainerOptions } from "./container-options.ts";
import { stopWarning } from "./container-warnings.ts";
import type { ReplacementWatch } from "./replacement-watch.ts";
import type { Standing } from "./stop-rule.ts";

/** Docker's grace for a container that does not set one. */
const DEFAULT_GRACE_MS = 10_000;

/** Stops, kills or pauses a target's container if the stop rule (stop-rule.ts) allows it. */
export class ContainerStopper {
  readonly #options: () => ContainerOptions;
  readonly #finder: ContainerFinder;
  readonly #replacement: ReplacementWatch;
  /** The incarnation that wakeport started for a dependent. */
  #started: { readonly id: string; readonly incarnation: string } | undefined;
  /** Id of the last container that was reported for ignoring its stop signal. */
  #reported: string | undefined;

  constructor(options: () => ContainerOptions, finder: ContainerFinder, replacement: ReplacementWatch) {
    this.#options = options;
    this.#finder = finder;
    this.#replacement = replacement;
  }

  /** From the stop signal to SIGKILL, in milliseconds. */
  get graceMs(): number {
    return this.#options().graceMs ?? ownGraceMs(this.#finder.seen?.stopTimeoutS);
  }

  /** Records that wakeport started the container for a dependent: wakeport may stop this incarnation. */
  startedForDependent(facts: ContainerFacts): void {
    this.#started = { id: facts.id, incarnation: incarnationOf(facts) };
  }

  /** Forgets the recorded start if another client of the engine stops the container. */
  onEvent({ id }: ContainerEvent): void {
    if (id === this.#started?.id && this.#replacement.isStoppedByOthers(id)) this.#started = undefined;
  }

  /** @throws KeptError if the stop rule forbids it; TargetError */
  async sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    const { engine } = this.#options();
    // Looked up again, so that only a container that the configuration names now is stopped.
    const facts = await this.#finder.find(signal);
    if (facts instanceof TargetError) return;
    // When wakeport ends, paused targets are stopped as well: they need no namespace.
    const reasons = await this.reasonsAgainst(facts, signal, false);
    if (reasons.length > 0) throw new KeptError(reasons.join("; "));
    if (action === "pause") {
      await engine.pause(facts, signal);
      return this.#finder.update({ ...facts, isPaused: true });
    }
    if (action === "kill" && facts.isRunning) {
      this.#replacement.expectOwnStop(facts.id);
      return engine.kill(facts, signal);
    }
    const began = performance.now();
    await this.stop(facts, signal);
    if (performance.now() - began >= this.graceMs) await this.#checkStop(facts, signal);
  }

  /** Stops the container without applying the stop rule. @throws TargetError */
  async stop(facts: ContainerFacts, signal: AbortSignal): Promise<void> {
    const { engine, graceMs } = this.#options();
    this.#replacement.expectOwnStop(facts.id);
    await engine.stop(facts, this.graceMs, graceMs === undefined, signal);
    this.#finder.update({ ...facts, isRunning: false, isPaused: false });
  }

  /**
   * Returns why the stop rule forbids to stop the container; empty if it does not.
   *
   * @param keepsNamespaces whether a paused target needs the namespaces that it shares with the container
   * @throws TargetError
   */
  reasonsAgainst(facts: ContainerFacts, signal: AbortSignal, keepsNamespaces: boolean): Promise<readonly string[]> {
    return this.#options().guard.reasonsAgainstStop(facts, this.#standing(facts), signal, keepsNamespaces);
  }

  #standing(facts: ContainerFacts): Standing {
    const { isNamed, reference } = this.#options();
    if ("createdFor" in reference) return "created";
    if (isNamed) return "named";
    const { id, incarnation } = this.#started ?? {};
    // A container that was restarted by its restart policy still counts as started by wakeport.
    return id === facts.id && (incarnation === incarnationOf(facts) || facts.restartPolicy !== "no")
      ? "started"
      : "found";
  }

  /** Reports once that a program ignores its stop signal, because each sleep then takes the whole grace. */
  async #checkStop({ id, name }: ContainerFacts, signal: AbortSignal): Promise<void> {
    if (this.graceMs === 0 || this.#reported === id) return;
    const { engine, onWarning } = this.#options();
    const facts = await engine.inspect({ id, name }, signal).catch(() => undefined);
    if (facts === undefined || facts.isRunning || facts.exitCode !== KILLED) return;
    this.#reported = id;
    onWarning("target.ignores_stop", stopWarning(facts, this.graceMs));
  }
}

/** Returns a container's own grace in milliseconds. @param stopTimeoutS undefined if the container sets none */
export function ownGraceMs(stopTimeoutS: number | undefined): number {
  if (stopTimeoutS === undefined) return DEFAULT_GRACE_MS;
  // For Docker, a negative number means no limit.
  return stopTimeoutS < 0 ? MAX_TIMER_MS : timerMs(stopTimeoutS * 1000);
}
