/** A Docker container as a target: found by name or by compose labels each time, never remembered by id. */
import { LONGEST_TIMER_MS, timerMs } from "../activation/timers.ts";
import { delay } from "../async.ts";
import type { ContainerReference } from "../config/config.ts";
import { addressOf } from "../engine/address.ts";
import { type ContainerFacts, projectLabel, serviceLabel } from "../engine/container-facts.ts";
import type { Engine } from "../engine/engine.ts";
import type { ContainerEvent, EngineEvents } from "../engine/events.ts";
import type { OwnContainer } from "../engine/own-container.ts";
import { TargetError } from "../errors.ts";
import type { Sight, Target } from "./target.ts";

/** The engine's own, for a container that does not set one. */
const DEFAULT_GRACE_MS = 10_000;
/** How long a start waits for an engine that does not answer: a restart of the daemon takes a few seconds. */
const ENGINE_PATIENCE_MS = 10_000;
const ENGINE_RETRY_MS = 100;
const LAST_LINES = 10;

export interface ContainerOptions {
  readonly name: string;
  readonly reference: ContainerReference;
  /** A network's name, or "auto". */
  readonly network: string;
  /** From the stop signal to SIGKILL, in milliseconds; undefined: the container's own. */
  readonly graceMs: number | undefined;
  readonly engine: Engine;
  readonly events: EngineEvents;
  readonly own: OwnContainer;
  /** Which target each container, by id, belongs to; shared by all targets of an engine. */
  readonly owners: Map<string, ContainerTarget>;
}

export class ContainerTarget implements Target {
  readonly name: string;
  readonly #options: ContainerOptions;
  /** As the last look found it: for its grace, and to know its events by. */
  #seen: ContainerFacts | undefined;

  constructor(options: ContainerOptions) {
    this.#options = options;
    this.name = options.name;
  }

  get graceMs(): number {
    const own = this.#seen?.stopTimeoutS;
    if (this.#options.graceMs !== undefined) return this.#options.graceMs;
    if (own === undefined) return DEFAULT_GRACE_MS;
    // Docker takes a negative number for "as long as it takes".
    return own < 0 ? LONGEST_TIMER_MS : timerMs(own * 1000);
  }

  async look(signal: AbortSignal): Promise<Sight> {
    const facts = await this.#inspectIfThere(signal);
    if (facts === undefined) return { up: false };
    if (!facts.isRunning || facts.isPaused) {
      const exit = { code: facts.exitCode, oomKilled: facts.oomKilled };
      return { up: false, exit, comesBack: facts.isRestarting };
    }
    return {
      up: true,
      address: await this.#addressOf(facts, signal),
      life: `${facts.id} ${facts.startedAt}`,
      ...(facts.health !== undefined && { health: facts.health }),
    };
  }

  async start(signal: AbortSignal): Promise<"started" | "already"> {
    const limit = performance.now() + ENGINE_PATIENCE_MS;
    for (;;) {
      try {
        return await this.#options.engine.start(await this.#find(signal), signal);
      } catch (error) {
        const isAway = error instanceof TargetError && error.fault === "unreachable";
        if (!isAway || performance.now() >= limit) throw error;
        await delay(ENGINE_RETRY_MS, signal);
      }
    }
  }

  async stop(signal: AbortSignal): Promise<void> {
    const { engine, graceMs } = this.#options;
    // Looked up at this moment, so that only a container that the configuration names now is ever stopped.
    const facts = await this.#inspectIfThere(signal);
    if (facts !== undefined) await engine.stop(facts.id, this.graceMs, graceMs === undefined, signal);
  }

  async lastLines(signal: AbortSignal): Promise<readonly string[]> {
    try {
      return await this.#options.engine.logTail(await this.#inspect(signal), LAST_LINES, signal);
    } catch {
      // A socket proxy rarely allows to read logs; the failure itself is told without them.
      return [];
    }
  }

  watch(onChange: () => void): Disposable {
    return this.#options.events.watch((event) => this.#concerns(event), onChange);
  }

  async #inspect(signal: AbortSignal): Promise<ContainerFacts> {
    const facts = await this.#options.engine.inspect(await this.#find(signal), signal);
    this.#own(facts);
    this.#seen = facts;
    return facts;
  }

  /** Two targets that are one container would stop it under each other: the second one is refused. */
  #own({ id, name }: ContainerFacts): void {
    const { owners } = this.#options;
    const owner = owners.get(id);
    if (owner !== undefined && owner !== this && owner.#seen?.id === id) {
      throw new TargetError("invalid", `${this.name} and ${owner.name} are the same container, ${name}`, {
        remedy: "name it in the same way in all services: they then share it",
      });
    }
    owners.set(id, this);
  }

  async #inspectIfThere(signal: AbortSignal): Promise<ContainerFacts | undefined> {
    try {
      return await this.#inspect(signal);
    } catch (error) {
      if (error instanceof TargetError && error.fault === "missing") return undefined;
      throw error;
    }
  }

  /** The name or id to ask the engine for. */
  async #find(signal: AbortSignal): Promise<string> {
    const { reference, engine } = this.#options;
    if ("name" in reference) return reference.name;
    const project = reference.project ?? (await this.#ownProject(signal));
    const [id] = await engine.findComposeService(project, reference.service, signal);
    if (id !== undefined) return id;
    throw new TargetError(
      "missing",
      `compose project "${project}" has no container of service "${reference.service}"`,
      {
        remedy: "create it (docker compose up --no-start), or correct the names in the configuration",
      },
    );
  }

  async #ownProject(signal: AbortSignal): Promise<string> {
    const project = (await this.#options.own.known(signal))?.project;
    if (project !== undefined) return project;
    throw new TargetError("invalid", `${this.name}: wakeport does not run in a compose project itself`, {
      remedy: 'say which one: container: { service: …, project: … }, or "docker.project" for all',
    });
  }

  /** Networks may have been connected since wakeport last looked at itself. */
  async #addressOf(facts: ContainerFacts, signal: AbortSignal): Promise<string> {
    const { own, network } = this.#options;
    try {
      return addressOf(facts, await own.known(signal), network);
    } catch {
      return addressOf(facts, await own.look(signal), network);
    }
  }

  #concerns({ id, attributes }: ContainerEvent): boolean {
    const { reference } = this.#options;
    if (id === this.#seen?.id) return true;
    if ("name" in reference)
      return attributes["name"] === reference.name || attributes["oldName"] === `/${reference.name}`;
    const isService = attributes[serviceLabel] === reference.service;
    return isService && (reference.project === undefined || attributes[projectLabel] === reference.project);
  }
}
