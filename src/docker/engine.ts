/**
 * The Docker daemon, or Podman, behind dockerode. Every call has a deadline of its own: a daemon that dies in the
 * middle of an answer leaves dockerode's promise pending for ever, abort signal or not.
 */
import type http from "node:http";
import Dockerode from "dockerode";
import { MAX_TIMER_MS, timerMs, within } from "../async/wait.ts";
import { TargetError } from "../errors.ts";
import { engineAgent } from "./agent.ts";
import { inOrder } from "./compose-service.ts";
import { type ContainerFacts, factsOf, type ListedContainer, projectLabel, serviceLabel } from "./container-facts.ts";
import { callCode, engineFault, isImageMissing, isRefusal, missingFault, type Operation, statusOf } from "./faults.ts";
import type { EngineHost } from "./host.ts";
import { LogFrames } from "./log-frames.ts";
import { type Creation, type ListedCreation, listedOf, ownerLabel, type RawListed } from "./on-demand.ts";
import { eventFilter, isPodmanAnswer } from "./podman.ts";
import { Refusals } from "./refusals.ts";
import type { EngineObserver } from "./reports.ts";
import { type Traffic, trafficOf } from "./traffic.ts";

/** For calls that the engine answers from memory. */
const QUICK_MS = 10_000;
const PING_MS = 5_000;
/** For what it has to do on its disk: to make a container, or remove one with all that it wrote. */
const THOROUGH_MS = 60_000;
/** Added to a container's grace when it is stopped, for the engine's own work. */
const STOP_MARGIN_MS = 15_000;
/** One that finds its container on its way down, and the container down when it looks, is worth another. */
const MAX_STARTS = 3;

/** How a call is told about, and how long it may take. */
interface CallOptions {
  readonly operation: Operation;
  readonly subject: string;
  /** The container's id, where it is asked for by that. */
  readonly id?: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

/** A published port of a container; `port` is undefined if it is exposed only. */
export interface PublishedPort {
  readonly container: string;
  readonly port: number | undefined;
  readonly protocol: string;
}

/** A container to act on: by its id, and told by its name. */
type Named = Pick<ContainerFacts, "id" | "name">;

type Abortable = { abortSignal: AbortSignal };
type Ask<T> = (abort: Abortable) => Promise<T>;

/** Calls whose options dockerode has and its type package has not. */
interface SystemCalls {
  ping(options: { abortSignal: AbortSignal }): Promise<unknown>;
  version(options: { abortSignal: AbortSignal }): Promise<Dockerode.DockerVersion>;
  /** Without the two parts apart, all of the body would be in the address as well. */
  createContainer(options: Abortable & { _query: object; _body: object }): Promise<{ readonly id: string }>;
}

export class Engine {
  readonly url: string;
  readonly host: EngineHost;
  /** What a socket proxy in front of the engine refuses. */
  readonly refusals: Refusals;
  readonly #observer: EngineObserver;
  readonly #agent: http.Agent;
  /** Logs that are followed have connections of their own: many at a time must not keep other calls waiting. */
  readonly #logAgent: http.Agent;
  readonly #docker: Dockerode;
  readonly #logs: Dockerode;
  readonly #system: SystemCalls;
  readonly #closing = new AbortController();
  #isPodman = false;

  constructor(host: EngineHost, observer: EngineObserver) {
    this.url = host.url;
    this.host = host;
    this.refusals = new Refusals((sentence) => observer.warning("engine.refuses", sentence));
    this.#observer = observer;
    const isSecure = host.tls !== undefined;
    const onAnswer = (headers: http.IncomingHttpHeaders): void => {
      this.#isPodman = isPodmanAnswer(headers) ?? this.#isPodman;
    };
    this.#agent = engineAgent({ isSecure, onAnswer });
    this.#logAgent = engineAgent({ isSecure, mostSockets: Number.POSITIVE_INFINITY });
    // Given whole, even where undefined: dockerode fills what is left out from the environment.
    const through = (agent: http.Agent) => ({
      socketPath: host.socketPath,
      host: host.host,
      port: host.port,
      protocol: host.tls === undefined ? ("http" as const) : ("https" as const),
      agent,
      ...host.tls,
    });
    this.#docker = new Dockerode(through(this.#agent));
    this.#system = this.#docker as SystemCalls;
    this.#logs = new Dockerode(through(this.#logAgent));
  }

  /** Whether it is Podman, as its last answer told. */
  get isPodman(): boolean {
    return this.#isPodman;
  }

  /** @throws TargetError */
  async ping(): Promise<void> {
    await this.#call({ operation: "ping", subject: "", deadlineMs: PING_MS }, (abort) => this.#system.ping(abort));
  }

  /** For people: `docker 26.1.5 (API 1.45)`. @throws TargetError */
  async version(): Promise<string> {
    const options = { operation: "version", subject: "", deadlineMs: QUICK_MS } as const;
    const { Version, ApiVersion } = await this.#call(options, (abort) => this.#system.version(abort));
    return `${this.#isPodman ? "podman" : "docker"} ${Version} (API ${ApiVersion})`;
  }

  /**
   * Inspects a container.
   *
   * @param on a container, or its exact name or full id. The engine also accepts the beginning of an id: such an answer is
   *   about another container, and counts as missing
   * @throws TargetError, "missing" if it does not exist
   */
  async inspect(on: string | Named, signal?: AbortSignal): Promise<ContainerFacts> {
    const options = callOn("inspect", on, QUICK_MS, signal);
    const reference = typeof on === "string" ? on : on.id;
    const facts = await this.#call(options, async (abort) => {
      const info = await this.#docker.getContainer(reference).inspect(abort);
      return factsOf(info, this.#isPodman);
    });
    if (facts.id === reference || facts.name === reference) return facts;
    throw missingFault(options.subject);
  }

  /** Lists all running and paused containers. @throws TargetError */
  async listRunning(signal: AbortSignal): Promise<readonly { readonly id: string; readonly isPaused: boolean }[]> {
    const options = { operation: "list", subject: "running containers", deadlineMs: QUICK_MS, signal } as const;
    return this.#call(options, async (abort) => {
      const found = await this.#docker.listContainers({ ...abort });
      return found.map(({ Id, State }) => ({ id: Id, isPaused: State === "paused" }));
    });
  }

  /**
   * Reads the traffic counters of a running container.
   *
   * @returns undefined for a container without a network of its own
   * @throws TargetError
   */
  async traffic(container: Named, signal: AbortSignal): Promise<Traffic | undefined> {
    const options = callOn("stats", container, QUICK_MS, signal);
    return this.#call(options, async (abort) => {
      // Without "one-shot" the engine takes one or two seconds for a sample.
      const query = { stream: false, "one-shot": true, ...abort } as const;
      return trafficOf(await this.#docker.getContainer(container.id).stats(query));
    });
  }

  /** All containers with a label, stopped ones too, in the order of compose's container numbers. @throws TargetError */
  async listLabelled(label: string, signal: AbortSignal): Promise<ListedContainer[]> {
    const options = {
      operation: "list",
      subject: `containers with label ${label}`,
      deadlineMs: QUICK_MS,
      signal,
    } as const;
    return this.#call(options, async (abort) => {
      const found = await this.#docker.listContainers({ all: true, filters: { label: [label] }, ...abort });
      return inOrder(found).map(listedContainer);
    });
  }

  /** Lists the ports that running containers publish on the host. @throws TargetError */
  async published(signal: AbortSignal): Promise<PublishedPort[]> {
    const options = { operation: "list", subject: "published ports", deadlineMs: QUICK_MS, signal } as const;
    return this.#call(options, async (abort) => {
      const running = await this.#docker.listContainers(abort);
      return running.flatMap(({ Names, Ports }) =>
        Ports.map(({ PublicPort: port, Type: protocol }) => ({ container: nameOf(Names), port, protocol })),
      );
    });
  }

  /**
   * Lists the containers of a compose service, including stopped ones, in the order of compose's container numbers.
   *
   * @throws TargetError
   */
  async findComposeService(project: string, service: string, signal?: AbortSignal): Promise<ListedContainer[]> {
    const label = [`${projectLabel}=${project}`, `${serviceLabel}=${service}`];
    const options = callOn("list", `${project}/${service}`, QUICK_MS, signal);
    return this.#call(options, async (abort) => {
      const found = await this.#docker.listContainers({ all: true, filters: { label }, ...abort });
      return inOrder(found).map(listedContainer);
    });
  }

  /**
   * Starts a container. May take as long as `signal` allows.
   *
   * @returns "already" when it was running, or was on its way down, before the call
   * @throws TargetError, "conflict" for one that is paused, or is being removed
   */
  async start(container: Named, signal: AbortSignal): Promise<"started" | "already"> {
    // What may not be looked at could not be relayed to when it is up, nor stopped again.
    if (this.refusals.has("inspect")) await this.inspect(container, signal);
    const options = callOn("start", container, MAX_TIMER_MS, signal);
    for (let starts = 1; ; starts += 1) {
      try {
        const isDone = await this.#act(options, (abort) => this.#docker.getContainer(container.id).start(abort), [304]);
        return isDone ? "started" : "already";
      } catch (error) {
        // Podman says so of one that is on its way down, and may be down by now.
        if (!this.#isPodman || !isConflict(error) || starts === MAX_STARTS) throw error;
        const { isPaused, isRunning } = await this.inspect(container, signal);
        if (isPaused) throw error;
        if (isRunning) return "already";
      }
    }
  }

  /**
   * Stops a container and resolves when it is down. One that is down, or gone, is down.
   *
   * @param graceMs from the stop signal to SIGKILL
   * @param ownGrace whether `graceMs` is the container's own, so that the engine need not be told
   * @throws TargetError
   */
  async stop(container: Named, graceMs: number, ownGrace: boolean, signal: AbortSignal): Promise<void> {
    const options = callOn("stop", container, timerMs(graceMs + STOP_MARGIN_MS), signal);
    // Podman does not always know it.
    const grace = ownGrace && !this.#isPodman ? {} : { t: Math.ceil(graceMs / 1000) };
    const ask: Ask<unknown> = (abort) => this.#docker.getContainer(container.id).stop({ ...grace, ...abort });
    try {
      await this.#act(options, ask, [304, 404]);
    } catch (error) {
      if (!this.#isPodman || !isConflict(error) || !(await this.inspect(container, signal)).isPaused) throw error;
      // Docker would have stopped it.
      await this.unpause(container, signal);
      await this.stop(container, graceMs, ownGrace, signal);
    }
  }

  /** Ends a container with SIGKILL. One that is gone is down. @throws TargetError, "conflict" for one that is down */
  async kill(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("kill", container, QUICK_MS, signal);
    await this.#act(options, (abort) => this.#docker.getContainer(container.id).kill(abort), [404]);
  }

  /** Freezes a container. @throws TargetError, "conflict" for one that is down, or paused already */
  async pause(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("pause", container, QUICK_MS, signal);
    await this.#act(options, (abort) => this.#docker.getContainer(container.id).pause(abort));
  }

  /** Thaws a container. @throws TargetError for one that is not paused */
  async unpause(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("unpause", container, QUICK_MS, signal);
    await this.#act(options, (abort) => this.#docker.getContainer(container.id).unpause(abort));
  }

  /** The containers that the wakeport called `owner` made, stopped ones too: the newest first. @throws TargetError */
  async findCreated(owner: string, signal: AbortSignal): Promise<readonly ListedCreation[]> {
    const options = { operation: "list", subject: "containers", deadlineMs: QUICK_MS, signal } as const;
    return this.#call(options, async (abort) => {
      const label = [`${ownerLabel}=${owner}`];
      const found = await this.#docker.listContainers({ all: true, filters: { label }, ...abort });
      return found.toSorted((a, b) => b.Created - a.Created).map((one: RawListed) => listedOf(one));
    });
  }

  /**
   * Makes a container, down, in the first of its networks.
   *
   * @returns its id; undefined when the engine does not have the image
   * @throws TargetError, "conflict" where another container has the name
   */
  async create({ name, body }: Creation, signal: AbortSignal): Promise<string | undefined> {
    const options = callOn("create", name, THOROUGH_MS, signal);
    const parts = { _query: { name }, _body: body };
    try {
      return (await this.#call(options, (abort) => this.#system.createContainer({ ...parts, ...abort }))).id;
    } catch (error) {
      if (error instanceof TargetError && isImageMissing(error.cause)) return undefined;
      throw error;
    }
  }

  /** Puts a container into one more network. @throws TargetError */
  async connect(container: Named, network: string, signal: AbortSignal): Promise<void> {
    const options = callOn("connect", container, QUICK_MS, signal);
    await this.#call(options, (abort) =>
      this.#docker.getNetwork(network).connect({ Container: container.id, ...abort }),
    );
  }

  /** Removes a container that is down, and its anonymous volumes. @throws TargetError, "conflict" for one that runs */
  async remove(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("remove", container, THOROUGH_MS, signal);
    await this.#act(options, (abort) => this.#docker.getContainer(container.id).remove({ v: true, ...abort }), [404]);
  }

  /**
   * Begins to pull an image, and answers with the engine's report: newline-delimited JSON, errors among it. The pull
   * ends when `signal` is aborted.
   *
   * @throws TargetError
   */
  async pull(image: string, signal: AbortSignal): Promise<NodeJS.ReadableStream> {
    const options = { operation: "pull", subject: image, deadlineMs: MAX_TIMER_MS, signal } as const;
    return this.#call(options, ({ abortSignal }) =>
      this.#logs.createImage({ fromImage: image, abortSignal: AbortSignal.any([abortSignal, signal]) }),
    );
  }

  /**
   * The last lines of a container's output, oldest first: so many at most, and of those since `since` (Unix seconds).
   *
   * @throws TargetError where the engine does not tell
   */
  async logTail(
    container: ContainerFacts,
    { lines, since }: { readonly lines: number; readonly since?: number },
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const options = callOn("logs", container, QUICK_MS, signal);
    const begin = since === undefined ? {} : { since: since.toFixed(3) };
    const query = { stdout: true, stderr: true, tail: lines, follow: false, ...begin } as const;
    const log = await this.#call(options, (abort) =>
      this.#docker.getContainer(container.id).logs({ ...query, ...abort }),
    );
    const text = container.hasTty ? log.toString() : withoutFrames(log);
    return text.split(/\r?\n/).filter((line) => line !== "");
  }

  /**
   * Opens the stream of what a container printed since `since` (Unix seconds) and prints from now on, in frames where
   * it has no terminal. It ends with the container's life, or earlier.
   *
   * @throws TargetError, "denied" or "invalid" where the log can never be read
   */
  async followLog(container: ContainerFacts, since: number, signal: AbortSignal): Promise<NodeJS.ReadableStream> {
    const options = callOn("logs", container, QUICK_MS, signal);
    const query = { stdout: true, stderr: true, follow: true, since: since.toFixed(3) } as const;
    return this.#call(options, ({ abortSignal }) =>
      this.#logs.getContainer(container.id).logs({ ...query, abortSignal: AbortSignal.any([abortSignal, signal]) }),
    );
  }

  /**
   * Opens the stream of events of containers, and of networks, since `since` (Unix seconds): newline-delimited JSON. Podman answers when it
   * has one to tell.
   *
   * @param actions by Docker's names
   * @throws TargetError
   */
  async events(since: number, actions: readonly string[], signal: AbortSignal): Promise<NodeJS.ReadableStream> {
    const deadlineMs = this.#isPodman ? MAX_TIMER_MS : QUICK_MS;
    const options = { operation: "events", subject: "", deadlineMs, signal } as const;
    const filters = { type: ["container" as const, "network" as const], event: eventFilter(actions) };
    const query = { since, filters, abortSignal: signal };
    return this.#call(options, () => this.#docker.getEvents(query));
  }

  /** Gives up all connections; whoever still asks gets no answer. */
  close(): void {
    // A connection that breaks in the middle of an answer would leave the call waiting for its deadline.
    this.#closing.abort(new TargetError("unreachable", `the engine at ${this.url} is not asked any more`));
    this.#agent.destroy();
    this.#logAgent.destroy();
  }

  /** @returns false when the answer was one of `needless`: there was nothing to do */
  async #act(options: CallOptions, ask: Ask<unknown>, needless: readonly number[] = []): Promise<boolean> {
    try {
      await this.#call(options, ask);
      return true;
    } catch (error) {
      const status = error instanceof TargetError ? statusOf(error.cause) : undefined;
      if (status === undefined || !needless.includes(status)) throw error;
      return false;
    }
  }

  /** `ask` is given the option that takes its request back: one that is not waited for any more must not stay open. */
  async #call<T>(options: CallOptions, ask: Ask<T>): Promise<T> {
    const { operation, deadlineMs } = options;
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closing.signal]) : this.#closing.signal;
    // What is given up before it is asked must not be done all the same.
    signal.throwIfAborted();
    const began = performance.now();
    const given = new AbortController();
    let code = "2xx";
    try {
      const answer = await within(deadlineMs, operation, ask({ abortSignal: given.signal }), signal);
      this.refusals.worked(operation);
      return answer;
    } catch (error) {
      given.abort();
      if (signal.aborted) {
        code = "cancelled";
        throw signal.reason;
      }
      code = callCode(error);
      const fault = engineFault(error, options, this.host);
      if (isRefusal(error) && fault.fault === "denied") this.refusals.refused(operation, fault);
      throw fault;
    } finally {
      this.#observer.engineCall({ operation, code, durationMs: performance.now() - began });
    }
  }
}

function callOn(operation: Operation, on: string | Named, deadlineMs: number, signal?: AbortSignal): CallOptions {
  const { name, id } = typeof on === "string" ? { name: on, id: on } : on;
  // An id as people write it.
  const subject = `container ${/^[0-9a-f]{64}$/.test(name) ? name.slice(0, 12) : name}`;
  return { operation, subject, id, deadlineMs, ...(signal && { signal }) };
}

function listedContainer({ Id, Names, Labels, Created }: Dockerode.ContainerInfo): ListedContainer {
  return { id: Id, name: nameOf(Names), labels: Labels, created: Created };
}

/** A container has more names where others link to it: `/web/db`. */
function nameOf(names: readonly string[] = []): string {
  const own = names.find((name) => name.lastIndexOf("/") === 0) ?? names[0] ?? "";
  return own.replace(/^\//, "");
}

function isConflict(error: unknown): boolean {
  return error instanceof TargetError && error.fault === "conflict";
}

/** What was printed, without the headers between its pieces. */
function withoutFrames(log: Buffer): string {
  const parts: Uint8Array[] = [];
  new LogFrames((bytes) => parts.push(bytes)).push(log);
  return Buffer.concat(parts).toString();
}
