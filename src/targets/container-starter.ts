import { delay } from "../async/wait.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import { checkAddress } from "../docker/find-address.ts";
import { TargetError, type TargetFault } from "../errors.ts";
import { type ContainerFinder, orMissing } from "./container-finder.ts";
import type { ContainerOptions } from "./container-options.ts";
import type { ContainerStopper } from "./container-stopper.ts";
import type { ReplacementWatch } from "./replacement-watch.ts";

/** How long a start retries if the engine does not answer: a restart of the daemon takes a few seconds. */
const ENGINE_RETRY_LIMIT_MS = 10_000;
const ENGINE_RETRY_MS = 100;
const REPLACEMENT_RETRY_MS = 50;
/**
 * Faults of a start that may come from outdated facts: an event of a recreated container may be lost, and a
 * stopped container that is connected to another network causes none.
 */
const OUTDATED: ReadonlySet<TargetFault> = new Set(["missing", "no_route"]);

/** Starts or unpauses a target's container. Waits for a container that is being replaced. */
export class ContainerStarter {
  readonly #options: () => ContainerOptions;
  readonly #finder: ContainerFinder;
  readonly #stopper: ContainerStopper;
  readonly #replacement: ReplacementWatch;
  #mayRestart = false;

  constructor(
    options: () => ContainerOptions,
    finder: ContainerFinder,
    stopper: ContainerStopper,
    replacement: ReplacementWatch,
  ) {
    this.#options = options;
    this.#finder = finder;
    this.#stopper = stopper;
    this.#replacement = replacement;
  }

  /** Whether the container is running, and a start under way may restart it: its address is not final. */
  get mayRestart(): boolean {
    return this.#mayRestart;
  }

  /** @throws TargetError */
  start(signal: AbortSignal): Promise<"started" | "already"> {
    const attempt = async (): Promise<"started" | "already"> => {
      const { prepare } = this.#options();
      await prepare?.(signal);
      const known = prepare === undefined ? this.#knownStartable : undefined;
      if (known !== undefined) return this.#startKnown(known, signal);
      return this.#startOrUnpause(await this.#findStartable(signal), signal);
    };
    return this.#retry(attempt, signal);
  }

  /** Returns the container that `start` would start. @throws TargetError */
  async findStartable(signal: AbortSignal): Promise<ContainerFacts> {
    return this.#knownStartable ?? this.#retry(() => this.#findStartable(signal), signal);
  }

  /** The container that is to be started, if it is known without a lookup. */
  get #knownStartable(): ContainerFacts | undefined {
    const { known } = this.#finder;
    const isAsleep = known !== undefined && (!known.isRunning || known.isPaused);
    return isAsleep && this.#replacement.waitMs === 0 ? known : undefined;
  }

  /** Starts the known container. If it does not exist any more or has no route, a lookup decides. */
  async #startKnown(known: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    try {
      return await this.#startOrUnpause(known, signal);
    } catch (error) {
      this.#finder.forget();
      if (!(error instanceof TargetError) || !OUTDATED.has(error.fault)) throw error;
      const facts = await this.#findStartable(signal);
      // Its image or its network is missing.
      if (error.fault === "missing" && facts.id === known.id) throw error;
      return this.#startOrUnpause(facts, signal);
    }
  }

  async #retry<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const limit = performance.now() + ENGINE_RETRY_LIMIT_MS;
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        const pauseMs = this.#pauseAfter(error, limit);
        if (pauseMs === undefined) throw error;
        await delay(pauseMs, signal);
      }
    }
  }

  /** Returns undefined if a failed start is not retried, else the pause before the retry in milliseconds. */
  #pauseAfter(error: unknown, limit: number): number | undefined {
    if (!(error instanceof TargetError)) return undefined;
    if (error.fault === "unreachable") return performance.now() < limit ? ENGINE_RETRY_MS : undefined;
    // For example, compose has removed a container and not yet created the next one of that name.
    const isTemporary = error.fault === "missing" || error.fault === "conflict";
    return isTemporary && this.#replacement.waitMs > 0 ? REPLACEMENT_RETRY_MS : undefined;
  }

  /** Waits for the replacement of a container that another client has just stopped or renamed. */
  async #findStartable(signal: AbortSignal): Promise<ContainerFacts> {
    const facts = await this.#finder.find(signal);
    if (facts instanceof TargetError) throw facts;
    const { waitMs } = this.#replacement;
    if (facts.isRunning || waitMs === 0 || this.#replacement.isReplacement(facts.id)) return facts;
    await delay(Math.min(REPLACEMENT_RETRY_MS, waitMs), signal);
    return this.#findStartable(signal);
  }

  async #startOrUnpause(facts: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    const { engine, network, ...options } = this.#options();
    if (network !== undefined) await checkAddress(facts, { ...options, engine, network }, signal);
    try {
      return facts.isPaused ? await this.#unpause(facts, signal) : await this.#start(facts, signal);
    } catch (error) {
      // Another program may have paused or unpaused the container meanwhile.
      const now = await engine.inspect(facts, signal).catch(() => facts);
      if (now.isPaused === facts.isPaused) throw error;
      return this.#startOrUnpause(now, signal);
    }
  }

  async #unpause(facts: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    this.#mayRestart = facts.networkOf !== undefined;
    try {
      await this.#options().engine.unpause(facts, signal);
      const unpaused = { ...facts, isPaused: false };
      this.#finder.update(unpaused);
      return (await this.#hasLostNetwork(unpaused, signal)) ? await this.#restart(unpaused, signal) : "started";
    } finally {
      this.#mayRestart = false;
    }
  }

  async #start(facts: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    const { engine, isNamed } = this.#options();
    const result = await engine.start(facts, signal);
    if (result === "started") this.#finder.update({ ...facts, isRunning: true, isRestarting: false });
    if (result === "started" && !isNamed) this.#stopper.startedForDependent(await engine.inspect(facts, signal));
    return result;
  }

  /** Whether the container whose network it uses was restarted: the container is still in the previous network. */
  async #hasLostNetwork({ networkOf, startedAt }: ContainerFacts, signal: AbortSignal): Promise<boolean> {
    if (networkOf === undefined) return false;
    const holder = await orMissing(this.#options().engine.inspect(networkOf, signal));
    return !(holder instanceof TargetError) && Date.parse(holder.startedAt) > Date.parse(startedAt);
  }

  async #restart(facts: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    const reasons = await this.#stopper.reasonsAgainst(facts, signal, false);
    if (reasons.length > 0) {
      const { name } = this.#options();
      const message = `${name} has lost its network and must not be restarted: ${reasons.join("; ")}`;
      throw new TargetError("no_route", message, { remedy: "restart it when the containers that need it are down" });
    }
    await this.#stopper.stop(facts, signal);
    return this.#start(facts, signal);
  }
}
