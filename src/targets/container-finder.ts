import type { RenamedRun } from "../activation/target.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import type { ContainerEvent } from "../docker/events.ts";
import { sentenceOf, TargetError } from "../errors.ts";
import { incarnationOf } from "./container-incarnation.ts";
import type { ContainerOptions, ContainerOwner } from "./container-options.ts";
import { ReferenceResolver } from "./container-reference.ts";
import { restartWarning } from "./container-warnings.ts";
import { KnownFacts } from "./known-facts.ts";
import type { ReplacementWatch } from "./replacement-watch.ts";

/**
 * Finds a target's container with a new lookup at each call, because a recreated container has another id. Registers the
 * target as its owner.
 */
export class ContainerFinder implements ContainerOwner {
  readonly #options: () => ContainerOptions;
  readonly #replacement: ReplacementWatch;
  readonly #reference: ReferenceResolver;
  readonly #known: KnownFacts;
  #seen: ContainerFacts | undefined;
  /** A container that was seen running before another one got its name or labels. */
  #previous: { readonly facts: ContainerFacts; readonly down: AbortController } | undefined;
  /** Keeps a pending lookup from registering the target again. */
  #isReleased = false;
  #reportedRejection: string | undefined;

  constructor(options: () => ContainerOptions, replacement: ReplacementWatch) {
    this.#options = options;
    this.#replacement = replacement;
    this.#reference = new ReferenceResolver(options);
    this.#known = new KnownFacts(() => options().events);
  }

  get name(): string {
    return this.#options().name;
  }

  /** The container as last found, or undefined if it does not exist or was never looked up. */
  get seen(): ContainerFacts | undefined {
    return this.#seen;
  }

  /**
   * The container as last found, if no event since then may have changed it. A start may use it, because the engine
   * rejects the start of a container that does not exist any more. A stop and a rejection need a new lookup.
   */
  get known(): ContainerFacts | undefined {
    return this.#known.current;
  }

  /** Calls `onChange` when the container may have changed since the last lookup. */
  watch(onChange: () => void): Disposable {
    return this.#known.watch(onChange);
  }

  /** Handles an event of this container, or undefined if events may have been lost. */
  onEvent(event: ContainerEvent | undefined): void {
    this.#known.onEvent(event);
  }

  /** Stores what the engine's answer to a start, a stop or a pause reports. */
  update(facts: ContainerFacts): void {
    this.#known.update(facts);
    if (this.#seen?.id === facts.id) this.#seen = facts;
  }

  /** Makes the next start look the container up. */
  forget(): void {
    this.#known.forget();
  }

  /** Returns an error if the container does not exist. @throws TargetError */
  find(signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    return this.#known.inspect(
      () => this.#find(signal),
      (facts) => (facts instanceof TargetError ? undefined : facts),
    );
  }

  async #find(signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    const facts = await this.lookUp(signal);
    if (facts instanceof TargetError) return facts;
    this.#own(facts);
    const { isNamed, onWarning } = this.#options();
    if (facts.isAutoRemoved && isNamed) this.#reject(autoRemoved(facts));
    const warning = facts.id === this.#seen?.id ? undefined : restartWarning(facts);
    if (warning !== undefined) onWarning("target.restart_policy", warning);
    if (this.#seen?.isRunning && this.#seen.id !== facts.id) this.#setPrevious(this.#seen);
    this.#seen = facts;
    return facts;
  }

  /** Returns the container like `find`, but also if it was renamed while it runs. @throws TargetError */
  async findRenamed(signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    const facts = await this.find(signal);
    const seen = this.#seen;
    if (!(facts instanceof TargetError) || seen === undefined) return facts;
    const renamed = seen.isRunning ? await orMissing(this.#options().engine.inspect(seen, signal)) : facts;
    if (!(renamed instanceof TargetError) && renamed.isRunning) return renamed;
    // Its events may have been lost.
    this.#replacement.expectReplacement(seen.id);
    this.#seen = undefined;
    return facts;
  }

  /** Returns the run of the previous container, if it continues. @throws TargetError */
  async renamed(signal: AbortSignal): Promise<RenamedRun | undefined> {
    const previous = this.#previous;
    if (previous === undefined) return undefined;
    const incarnation = incarnationOf(previous.facts);
    const facts = await orMissing(this.#options().engine.inspect(previous.facts, signal));
    const isRunning = !(facts instanceof TargetError) && facts.isRunning && incarnationOf(facts) === incarnation;
    if (isRunning) return { incarnation, down: previous.down.signal };
    if (this.#previous === previous) this.#setPrevious(undefined);
    return undefined;
  }

  /** Whether an event is about the previous container. */
  concernsPrevious({ id }: ContainerEvent): boolean {
    return id === this.#previous?.facts.id;
  }

  #setPrevious(facts: ContainerFacts | undefined): void {
    this.#previous?.down.abort();
    this.#previous = facts && { facts, down: new AbortController() };
  }

  /** Returns an error if the container does not exist. Neither stores nor registers the result. @throws TargetError */
  async lookUp(signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    const reference = await this.#reference.resolve(signal);
    return reference instanceof TargetError ? reference : orMissing(this.#options().engine.inspect(reference, signal));
  }

  /** Whether an event is about this container or the one whose network it uses. */
  concerns(event: ContainerEvent): boolean {
    return event.id === this.#seen?.id || event.id === this.#seen?.networkOf || this.#reference.matches(event);
  }

  /** Allows another target to own the container. */
  release(): void {
    const { owners } = this.#options();
    this.#isReleased = true;
    for (const [id, owner] of owners) if (owner === this) owners.delete(id);
  }

  /** Rejects a container that another target owns: each would stop it while the other one uses it. */
  #own({ id, name }: ContainerFacts): void {
    const { owners } = this.#options();
    if (this.#isReleased) return;
    const owner = owners.get(id);
    if (owner !== undefined && owner !== this && owner.seen?.id === id) {
      const message = `${this.name} and ${owner.name} are the same container, ${name}`;
      const remedy = "name it the same way in all services, so that they share it";
      this.#reject(new TargetError("invalid", message, { remedy }));
    }
    owners.set(id, this);
  }

  /** Reports each reason once. */
  #reject(error: TargetError): never {
    const message = sentenceOf(error);
    if (this.#reportedRejection !== message) this.#options().onWarning("target.refused", message);
    this.#reportedRejection = message;
    throw error;
  }
}

function autoRemoved({ name }: ContainerFacts): TargetError {
  const message = `container ${name} was created with --rm: a stop would remove it with its data`;
  return new TargetError("invalid", message, { remedy: "create it again without --rm" });
}

/** Returns the error of a container that does not exist. @throws TargetError for other faults */
export async function orMissing(facts: Promise<ContainerFacts>): Promise<ContainerFacts | TargetError> {
  try {
    return await facts;
  } catch (error) {
    if (error instanceof TargetError && error.fault === "missing") return error;
    throw error;
  }
}
