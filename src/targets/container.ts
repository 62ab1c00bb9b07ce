/** A Docker container as a target: found by name or by compose labels each time, never remembered by id. */

import type { SleepAction, Target, TargetStatus, UseMoment } from "../activation/target.ts";
import { delay, MAX_TIMER_MS, timerMs } from "../async/wait.ts";
import type { ContainerReference } from "../config/config.ts";
import { rivals } from "../docker/compose-service.ts";
import { type ContainerFacts, type ListedContainer, projectLabel, serviceLabel } from "../docker/container-facts.ts";
import type { Engine } from "../docker/engine.ts";
import type { ContainerEvent, EngineEvents } from "../docker/events.ts";
import { checkRoute, findRoute, type LivingRoute } from "../docker/find-route.ts";
import { isFor } from "../docker/on-demand.ts";
import type { OwnContainer } from "../docker/own-container.ts";
import { KeptError, sentenceOf, TargetError } from "../errors.ts";
import { beginOfLife, followLog } from "./container-log.ts";
import { restartWarning, stopWarning } from "./container-warnings.ts";
import { DirectUse, openConnections } from "./direct-use.ts";
import { ReplacementWatch } from "./replacement.ts";
import type { StopGuard } from "./stop-guard.ts";
import type { Standing } from "./stop-rule.ts";

/** The engine's own, for a container that does not set one. */
const DEFAULT_GRACE_MS = 10_000;
/** How long a start waits for an engine that does not answer: a restart of the daemon takes a few seconds. */
const ENGINE_PATIENCE_MS = 10_000;
const ENGINE_RETRY_MS = 100;
const SUCCESSOR_RETRY_MS = 50;
const LAST_LINES = 10;
/** 128 + SIGKILL: somebody's kill, or the kernel's when memory ran out. */
const KILLED = 137;
/** The engine may note that memory ran out after it noted the end. */
const MEMORY_NOTED_MS = 100;

/** A container that is found by its labels: the one that we made for a service. */
export interface MadeReference {
  readonly madeFor: string;
  /** Its id; undefined when there is none. @throws TargetError */
  readonly find: (signal: AbortSignal) => Promise<string | undefined>;
}

export interface ContainerOptions {
  readonly name: string;
  readonly reference: ContainerReference | MadeReference;
  /** Before each attempt to start it: sees to it that there is one. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
  /** Whether a service names it. If not, dependents need it. */
  readonly isNamed: boolean;
  /** Label that the container must have with the value "true"; undefined: none. */
  readonly requiredLabel: string | undefined;
  /** A network's name, or "auto"; undefined: nobody dials it. */
  readonly network: string | undefined;
  /** From the stop signal to SIGKILL, in milliseconds; undefined: the container's own. */
  readonly graceMs: number | undefined;
  readonly engine: Engine;
  readonly events: EngineEvents;
  readonly own: OwnContainer;
  /** Which target each container, by id, belongs to; shared by all targets of an engine. */
  readonly owners: Map<string, ContainerTarget>;
  readonly guard: StopGuard;
  /** Something about the container that the person who runs this should know. */
  readonly onWarning: (event: string, message: string) => void;
}

export class ContainerTarget implements Target {
  readonly name: string;
  #options: ContainerOptions;
  readonly #succession = new ReplacementWatch();
  /** A look that was under way must not take the container back. */
  #isDisowned = false;
  /** As the last look found it: for its grace, and to know its events by. */
  #seen: ContainerFacts | undefined;
  /** The last container that had to be killed because it ignores its stop signal. */
  #killed: string | undefined;
  readonly #directUse: DirectUse;
  /** The container and life that were started for a dependent; undefined after a start by others. */
  #started: { readonly id: string; readonly incarnation: string } | undefined;
  /** The last life whose end by SIGKILL was looked at twice. */
  #lookedTwiceAt: string | undefined;
  /** The last reported ambiguity. */
  #ambiguity: string | undefined;
  #refusal: string | undefined;

  constructor(options: ContainerOptions) {
    this.#options = options;
    this.name = options.name;
    this.#directUse = new DirectUse(options.engine);
  }

  /** From now on its container is reached, and put away, like this. */
  configure(changed: Pick<ContainerOptions, "isNamed" | "requiredLabel" | "network" | "graceMs">): void {
    this.#options = { ...this.#options, ...changed };
  }

  /** Lets another target be this container. */
  release(): void {
    const { owners } = this.#options;
    this.#isDisowned = true;
    for (const [id, owner] of owners) if (owner === this) owners.delete(id);
  }

  get graceMs(): number {
    return this.#options.graceMs ?? ownGraceMs(this.#seen?.stopTimeoutS);
  }

  async inspect(signal: AbortSignal): Promise<TargetStatus> {
    const first = await this.#inspectFor(signal);
    const facts = first instanceof TargetError ? first : await this.#inspectTwice(first, signal);
    if (facts instanceof TargetError) return { up: false, missing: missingIn(facts) };
    if (!facts.isRunning) return this.#down(facts);
    const { address, caveat, noRoute, holderLife = "" } = await this.#route(facts, signal);
    const incarnation = `${incarnationOf(facts)} ${holderLife}`;
    if (facts.isPaused) return { up: false, pausedIncarnation: incarnation };
    const { health } = facts;
    return {
      up: true,
      address,
      incarnation,
      ...(noRoute !== undefined && { noRoute }),
      ...(caveat !== undefined && { caveat }),
      ...(health !== undefined && { health }),
    };
  }

  /** Everything that is known of the container now. @throws TargetError */
  async facts(signal: AbortSignal): Promise<ContainerFacts> {
    const facts = await this.#find(signal);
    if (facts instanceof TargetError) throw facts;
    return facts;
  }

  async start(signal: AbortSignal): Promise<"started" | "already"> {
    const attempt = async (): Promise<"started" | "already"> => {
      await this.#options.prepare?.(signal);
      return this.#startOrUnpause(await this.#successor(signal), signal);
    };
    return this.#patiently(attempt, signal);
  }

  /** The container that a start would start. One that is just being replaced, or asked for in vain, is waited for. @throws TargetError */
  async expected(signal: AbortSignal): Promise<ContainerFacts> {
    return this.#patiently(() => this.#successor(signal), signal);
  }

  /** Whether a look has found its container. */
  get isKnown(): boolean {
    return this.#seen !== undefined;
  }

  /** As it is at this moment; undefined when there is none. Remembers nothing. @throws TargetError */
  async inspectOnce(signal: AbortSignal): Promise<ContainerFacts | undefined> {
    const reference = await this.#reference(signal);
    const facts =
      reference instanceof TargetError ? reference : await orMissing(this.#options.engine.inspect(reference, signal));
    return facts instanceof TargetError ? undefined : facts;
  }

  async #patiently<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const limit = performance.now() + ENGINE_PATIENCE_MS;
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

  async keptAwakeBy(
    trafficBytes: number | undefined,
    signal: AbortSignal,
    { isHeld = false, isTrafficKnown = false, action = "stop" }: UseMoment = {},
  ): Promise<readonly string[]> {
    const facts = await this.#find(signal);
    if (facts instanceof TargetError || !facts.isRunning) return [];
    const most = isTrafficKnown ? undefined : trafficBytes;
    const [reasons, uses, connections] = await Promise.all([
      // A stop would end the network that a paused target uses. A pause would not.
      isHeld ? [] : this.#reasonsAgainstStop(facts, signal, action !== "pause"),
      facts.isPaused ? [] : this.#directUse.find(facts, most, signal),
      facts.isPaused || isHeld || trafficBytes === undefined ? [] : openConnections(facts, this.#pausedAddresses),
    ]);
    return [...reasons, ...uses, ...connections];
  }

  /** Addresses of paused targets. Their connections are open, but unused until wakeport wakes them. */
  get #pausedAddresses(): readonly string[] {
    const seen = [...new Set(this.#options.owners.values())].flatMap((owner) => owner.#seen ?? []);
    const networks = seen.filter(({ isPaused }) => isPaused).flatMap((facts) => facts.networks);
    return networks.flatMap(({ ipv4, ipv6 }) => [ipv4 ?? [], ipv6 ?? []].flat());
  }

  async sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    const { engine, graceMs } = this.#options;
    // Looked up at this moment, so that only a container that the configuration names now is ever put away.
    const facts = await this.#find(signal);
    if (facts instanceof TargetError) return;
    // When wakeport ends, paused targets are stopped as well: they need no namespace.
    const reasons = await this.#reasonsAgainstStop(facts, signal, false);
    if (reasons.length > 0) throw new KeptError(reasons.join("; "));
    if (action === "pause") return engine.pause(facts, signal);
    this.#succession.expectOwnStop(facts.id);
    if (action === "kill" && facts.isRunning) return engine.kill(facts, signal);
    const began = performance.now();
    await engine.stop(facts, this.graceMs, graceMs === undefined, signal);
    if (performance.now() - began >= this.graceMs) await this.#checkStop(facts, signal);
  }

  async lastLines(signal: AbortSignal, most: number = LAST_LINES): Promise<readonly string[]> {
    try {
      const facts = await this.facts(signal);
      // One that is up again has nothing to do with what it said before. Of one that is down nobody knows when it began.
      const begin = facts.isRunning ? { since: beginOfLife(facts) / 1000 } : {};
      return await this.#options.engine.logTail(facts, { lines: most, ...begin }, signal);
    } catch {
      // A socket proxy rarely allows to read logs; the failure itself is told without them.
      return [];
    }
  }

  async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    const facts = await this.facts(signal);
    if (incarnation.startsWith(incarnationOf(facts))) await followLog(this.#options.engine, facts, onLine, signal);
  }

  watch(onChange: () => void): Disposable {
    return this.#options.events.watch((event) => {
      if (event !== undefined && !this.#concerns(event)) return;
      if (event !== undefined) this.#note(event);
      onChange();
    });
  }

  #note(event: ContainerEvent): void {
    this.#succession.note(event);
    if (event.id === this.#started?.id && this.#succession.stoppedByOthers(event.id)) this.#started = undefined;
  }

  #reasonsAgainstStop(
    facts: ContainerFacts,
    signal: AbortSignal,
    keepsNamespaces: boolean,
  ): Promise<readonly string[]> {
    return this.#options.guard.reasonsAgainstStop(facts, this.#standing(facts), signal, keepsNamespaces);
  }

  #standing(facts: ContainerFacts): Standing {
    const { isNamed, reference } = this.#options;
    if ("madeFor" in reference) return "created";
    if (isNamed) return "named";
    const { id, incarnation } = this.#started ?? {};
    // A container that was restarted by its restart policy still counts as started by wakeport.
    return id === facts.id && (incarnation === incarnationOf(facts) || facts.restartPolicy !== "no")
      ? "started"
      : "found";
  }

  async #route(facts: ContainerFacts, signal: AbortSignal): Promise<LivingRoute> {
    const { network } = this.#options;
    return network === undefined ? { address: "" } : findRoute(facts, { ...this.#options, network }, signal);
  }

  #down(facts: ContainerFacts): TargetStatus {
    const wasAsked = this.#succession.stoppedByOthers(facts.id);
    const exit = { code: facts.exitCode, oomKilled: facts.oomKilled, ...(wasAsked && { wasAsked }) };
    // The engine says the year 1 for never.
    const endedAt = Date.parse(facts.finishedAt);
    return { up: false, exit, comesBack: facts.isRestarting, ...(endedAt > 0 && { endedAt }) };
  }

  async #startOrUnpause(facts: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    const { engine } = this.#options;
    const { network } = this.#options;
    if (network !== undefined) await checkRoute(facts, { ...this.#options, network }, signal);
    try {
      if (!facts.isPaused) return await this.#startContainer(facts, signal);
      await engine.unpause(facts, signal);
      return (await this.#hasLostNetwork(facts, signal)) ? await this.#restart(facts, signal) : "started";
    } catch (error) {
      // Somebody was quicker.
      const now = await engine.inspect(facts, signal).catch(() => facts);
      if (now.isPaused === facts.isPaused) throw error;
      return this.#startOrUnpause(now, signal);
    }
  }

  /** Whether the container whose network it uses was started after it: it is still in the network before that. */
  async #hasLostNetwork({ networkOf, startedAt }: ContainerFacts, signal: AbortSignal): Promise<boolean> {
    if (networkOf === undefined) return false;
    const holder = await orMissing(this.#options.engine.inspect(networkOf, signal));
    return !(holder instanceof TargetError) && Date.parse(holder.startedAt) > Date.parse(startedAt);
  }

  async #restart(facts: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    const { engine, graceMs } = this.#options;
    const reasons = await this.#reasonsAgainstStop(facts, signal, false);
    if (reasons.length > 0) {
      const message = `${this.name} has lost its network and must not be restarted: ${reasons.join("; ")}`;
      throw new TargetError("no_route", message, { remedy: "restart it when the containers that need it are down" });
    }
    this.#succession.expectOwnStop(facts.id);
    await engine.stop(facts, this.graceMs, graceMs === undefined, signal);
    return this.#startContainer(facts, signal);
  }

  async #startContainer(facts: ContainerFacts, signal: AbortSignal): Promise<"started" | "already"> {
    const { engine, isNamed } = this.#options;
    const result = await engine.start(facts, signal);
    // A container that was started for a dependent may be stopped.
    if (result === "started" && !isNamed) {
      this.#started = { id: facts.id, incarnation: incarnationOf(await engine.inspect(facts, signal)) };
    }
    return result;
  }

  /** The container to start: one that somebody took away a moment ago is not started again before its time is over. */
  async #successor(signal: AbortSignal): Promise<ContainerFacts> {
    const facts = await this.facts(signal);
    const { waitMs } = this.#succession;
    if (facts.isRunning || waitMs === 0 || this.#succession.isSuccessor(facts.id)) return facts;
    await delay(Math.min(SUCCESSOR_RETRY_MS, waitMs), signal);
    return this.#successor(signal);
  }

  /** How long to wait before a start that failed is tried again, in milliseconds; undefined: it is not. */
  #pauseAfter(error: unknown, limit: number): number | undefined {
    if (!(error instanceof TargetError)) return undefined;
    if (error.fault === "unreachable") return performance.now() < limit ? ENGINE_RETRY_MS : undefined;
    // Compose, say, is between removing a container and making the next one of that name.
    const isPassing = error.fault === "missing" || error.fault === "conflict";
    return isPassing && this.#succession.waitMs > 0 ? SUCCESSOR_RETRY_MS : undefined;
  }

  /** As `#find`; a container that was renamed while it is up is still the one that it was. */
  async #inspectFor(signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    const facts = await this.#find(signal);
    const seen = this.#seen;
    if (!(facts instanceof TargetError) || seen === undefined) return facts;
    const astray = seen.isRunning ? await orMissing(this.#options.engine.inspect(seen, signal)) : facts;
    if (!(astray instanceof TargetError) && astray.isRunning) return astray;
    // Also when its events were lost.
    this.#succession.removed(seen.id);
    this.#seen = undefined;
    return facts;
  }

  /** As the engine has it a moment later, for an end by SIGKILL that nobody is known to have asked for. */
  async #inspectTwice(facts: ContainerFacts, signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    const isUnclear = !facts.isRunning && facts.exitCode === KILLED && !facts.oomKilled;
    if (!isUnclear || this.#succession.isAsked(facts.id) || this.#lookedTwiceAt === incarnationOf(facts)) return facts;
    this.#lookedTwiceAt = incarnationOf(facts);
    await delay(MEMORY_NOTED_MS, signal);
    return this.#inspectFor(signal);
  }

  /** The container that the configuration names at this moment; the reason where there is none. @throws TargetError */
  async #find(signal: AbortSignal): Promise<ContainerFacts | TargetError> {
    const { engine } = this.#options;
    const reference = await this.#reference(signal);
    const facts = reference instanceof TargetError ? reference : await orMissing(engine.inspect(reference, signal));
    if (facts instanceof TargetError) return facts;
    this.#claimContainer(facts);
    if (facts.isAutoRemoved && this.#options.isNamed) this.#refuse(autoRemoved(facts));
    if (facts.id !== this.#seen?.id) this.#warnOf(facts);
    this.#seen = facts;
    return facts;
  }

  /** Two targets that are one container would stop it under each other: the second one is refused. */
  #claimContainer({ id, name }: ContainerFacts): void {
    const { owners } = this.#options;
    if (this.#isDisowned) return;
    const owner = owners.get(id);
    if (owner !== undefined && owner !== this && owner.#seen?.id === id) {
      const message = `${this.name} and ${owner.name} are the same container, ${name}`;
      const remedy = "name it in the same way in all services: they then share it";
      this.#refuse(new TargetError("invalid", message, { remedy }));
    }
    owners.set(id, this);
  }

  /** Rejects a container that cannot be a target, and reports it once, at the first look. */
  #refuse(error: TargetError): never {
    const message = sentenceOf(error);
    if (this.#refusal !== message) this.#options.onWarning("target.refused", message);
    this.#refusal = message;
    throw error;
  }

  #warnOf(facts: ContainerFacts): void {
    const message = restartWarning(facts);
    if (message !== undefined) this.#options.onWarning("target.restart_policy", message);
  }

  /** A program that does not know its stop signal costs each sleep the whole grace, and is told of once. */
  async #checkStop({ id, name }: ContainerFacts, signal: AbortSignal): Promise<void> {
    if (this.graceMs === 0 || this.#killed === id) return;
    const facts = await this.#options.engine.inspect({ id, name }, signal).catch(() => undefined);
    if (facts === undefined || facts.isRunning || facts.exitCode !== KILLED) return;
    this.#killed = id;
    this.#options.onWarning("target.ignores_stop", stopWarning(facts, this.graceMs));
  }

  /** The name or id to ask the engine for. */
  async #reference(signal: AbortSignal): Promise<string | TargetError> {
    const { reference, engine, requiredLabel } = this.#options;
    if ("name" in reference) return reference.name;
    if ("madeFor" in reference) {
      const message = `no container was created for service "${reference.madeFor}"`;
      return (await reference.find(signal)) ?? new TargetError("missing", message);
    }
    const project = reference.project ?? (await this.#ownProject(signal));
    const containers = await engine.findComposeService(project, reference.service, signal);
    const claims = rivals(containers);
    if (claims.length > 0) return this.#ambiguous(claims);
    const [first] = containers;
    if (first !== undefined && requiredLabel !== undefined && !hasLabel(first, requiredLabel)) {
      const problem = `${first.name} is the first container of ${this.name}, and has no label ${requiredLabel}=true`;
      return new TargetError("missing", problem, { remedy: "remove the containers that compose did not create" });
    }
    if (first !== undefined) return first.id;
    const message = `compose project "${project}" has no container of service "${reference.service}"`;
    return new TargetError("missing", message, {
      remedy: "create it (docker compose up --no-start), or correct the names in the configuration",
    });
  }

  /** None is chosen, because one of them has copied the labels of the other. */
  #ambiguous(claims: readonly ListedContainer[]): TargetError {
    const names = claims.map(({ name }) => name).toSorted();
    const message = `${names.length} containers claim to be ${this.name}: ${names.join(", ")}`;
    const error = new TargetError("missing", message, {
      remedy: 'remove the ones that compose did not create, or name the right one: "container: NAME"',
    });
    if (this.#ambiguity !== message) this.#options.onWarning("target.ambiguous", sentenceOf(error));
    this.#ambiguity = message;
    return error;
  }

  async #ownProject(signal: AbortSignal): Promise<string> {
    const project = (await this.#options.own.known(signal))?.project;
    if (project !== undefined) return project;
    throw new TargetError("invalid", `${this.name}: wakeport does not run in a compose project itself`, {
      remedy: 'say which one: container: { service: …, project: … }, or "docker.project" for all',
    });
  }

  #concerns({ id, attributes }: ContainerEvent): boolean {
    const { reference } = this.#options;
    if (id === this.#seen?.id || id === this.#seen?.networkOf) return true;
    if ("name" in reference)
      return attributes["name"] === reference.name || attributes["oldName"] === `/${reference.name}`;
    if ("madeFor" in reference) return isFor(reference.madeFor, attributes);
    const isService = attributes[serviceLabel] === reference.service;
    return isService && (reference.project === undefined || attributes[projectLabel] === reference.project);
  }
}

function autoRemoved({ name }: ContainerFacts): TargetError {
  const message = `container ${name} was created with --rm: a stop would remove it with its data`;
  return new TargetError("invalid", message, { remedy: "create it again without --rm" });
}

function hasLabel({ labels }: ListedContainer, label: string): boolean {
  return labels[label]?.trim().toLowerCase() === "true";
}

/** A container's own grace, in milliseconds. @param stopTimeoutS undefined where it does not set one */
export function ownGraceMs(stopTimeoutS: number | undefined): number {
  if (stopTimeoutS === undefined) return DEFAULT_GRACE_MS;
  // Docker takes a negative number for "as long as it takes".
  return stopTimeoutS < 0 ? MAX_TIMER_MS : timerMs(stopTimeoutS * 1000);
}

/** A container that does not exist is an answer, not a failure. */
async function orMissing(facts: Promise<ContainerFacts>): Promise<ContainerFacts | TargetError> {
  try {
    return await facts;
  } catch (error) {
    if (error instanceof TargetError && error.fault === "missing") return error;
    throw error;
  }
}

function missingIn({ message, remedy }: TargetError): string {
  return remedy === undefined ? message : `${message}: ${remedy}`;
}

function incarnationOf({ id, startedAt }: ContainerFacts): string {
  return `${id} ${startedAt}`;
}
