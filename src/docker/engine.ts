/** The API of the Docker daemon, or of Podman: one method for each used operation. */
import type Dockerode from "dockerode";
import { MAX_TIMER_MS, timerMs } from "../async/wait.ts";
import { TargetError } from "../errors.ts";
import { callOn, EngineCalls, type Named, type Request } from "./call.ts";
import { inOrder } from "./compose-service.ts";
import { type ContainerFacts, factsOf, type ListedContainer, projectLabel, serviceLabel } from "./container-facts.ts";
import { ContainerLogs } from "./container-logs.ts";
import {
  type CreatedContainerFacts,
  type CreateRequest,
  listedOf,
  ownerLabel,
  type RawListed,
} from "./created-containers.ts";
import { isImageMissing, missingFault } from "./faults.ts";
import type { EngineHost } from "./host.ts";
import { eventFilter } from "./podman.ts";
import type { RefusedOperations } from "./refused-operations.ts";
import type { EngineObserver } from "./reports.ts";
import { type Traffic, trafficOf } from "./traffic.ts";

/** Deadline of calls that the engine answers from memory. */
const QUICK_MS = 10_000;
const PING_MS = 5_000;
/** Deadline of calls with work on the engine's disk: to create or remove a container. */
const DISK_MS = 60_000;
/** Time for the engine's own work during a stop, beyond the container's grace period. */
const STOP_MARGIN_MS = 15_000;
/** Attempts to start a container that stops at the same time. */
const MAX_STARTS = 3;

/** A port of a container. `port` is its published port, undefined if the port is only exposed. */
export interface PublishedPort {
  readonly container: string;
  readonly port: number | undefined;
  readonly protocol: string;
}

export class Engine {
  readonly url: string;
  readonly host: EngineHost;
  readonly refusals: RefusedOperations;
  readonly logs: ContainerLogs;
  readonly #calls: EngineCalls;

  constructor(host: EngineHost, observer: EngineObserver) {
    this.url = host.url;
    this.host = host;
    this.#calls = new EngineCalls(host, observer);
    this.refusals = this.#calls.refusals;
    this.logs = new ContainerLogs(this.#calls);
  }

  /** Whether the last answer came from Podman. */
  get isPodman(): boolean {
    return this.#calls.isPodman;
  }

  /** @throws TargetError */
  async ping(): Promise<void> {
    await this.#calls.call({ operation: "ping", subject: "", deadlineMs: PING_MS }, (abort) =>
      this.#calls.untyped.ping(abort),
    );
  }

  /** Returns `docker 26.1.5 (API 1.45)`. @throws TargetError */
  async version(): Promise<string> {
    const options = { operation: "version", subject: "", deadlineMs: QUICK_MS } as const;
    const { Version, ApiVersion } = await this.#calls.call(options, (abort) => this.#calls.untyped.version(abort));
    return `${this.isPodman ? "podman" : "docker"} ${Version} (API ${ApiVersion})`;
  }

  /**
   * Returns the facts of a container.
   *
   * @param on a container, or its exact name or full id. The engine also accepts the beginning of an id and answers with
   *   another container, which counts as missing
   * @throws TargetError, "missing" if the container does not exist
   */
  async inspect(on: string | Named, signal?: AbortSignal): Promise<ContainerFacts> {
    const options = callOn("inspect", on, QUICK_MS, signal);
    const reference = typeof on === "string" ? on : on.id;
    const facts = await this.#calls.call(options, async (abort) => {
      const info = await this.#calls.docker.getContainer(reference).inspect(abort);
      return factsOf(info, this.isPodman);
    });
    if (facts.id === reference || facts.name === reference) return facts;
    throw missingFault(options.subject);
  }

  /** Lists all running and paused containers. @throws TargetError */
  async listRunning(signal: AbortSignal): Promise<readonly { readonly id: string; readonly isPaused: boolean }[]> {
    const options = { operation: "list", subject: "running containers", deadlineMs: QUICK_MS, signal } as const;
    return this.#calls.call(options, async (abort) => {
      const found = await this.#calls.docker.listContainers({ ...abort });
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
    return this.#calls.call(options, async (abort) => {
      // Without "one-shot" the engine takes one or two seconds for a sample.
      const query = { stream: false, "one-shot": true, ...abort } as const;
      return trafficOf(await this.#calls.docker.getContainer(container.id).stats(query));
    });
  }

  /** Lists all containers with a label, including stopped ones, by compose's container number. @throws TargetError */
  async listLabelled(label: string, signal: AbortSignal): Promise<ListedContainer[]> {
    const options = {
      operation: "list",
      subject: `containers with label ${label}`,
      deadlineMs: QUICK_MS,
      signal,
    } as const;
    return this.#calls.call(options, async (abort) => {
      const found = await this.#calls.docker.listContainers({ all: true, filters: { label: [label] }, ...abort });
      return inOrder(found).map(listedContainer);
    });
  }

  /** Lists the ports that running containers publish on the host. @throws TargetError */
  async published(signal: AbortSignal): Promise<PublishedPort[]> {
    const options = { operation: "list", subject: "published ports", deadlineMs: QUICK_MS, signal } as const;
    return this.#calls.call(options, async (abort) => {
      const running = await this.#calls.docker.listContainers(abort);
      return running.flatMap(({ Names, Ports }) =>
        Ports.map(({ PublicPort: port, Type: protocol }) => ({ container: nameOf(Names), port, protocol })),
      );
    });
  }

  /**
   * Lists the containers of a compose service, including stopped ones, by compose's container number.
   *
   * @throws TargetError
   */
  async findComposeService(project: string, service: string, signal?: AbortSignal): Promise<ListedContainer[]> {
    const label = [`${projectLabel}=${project}`, `${serviceLabel}=${service}`];
    const options = callOn("list", `${project}/${service}`, QUICK_MS, signal);
    return this.#calls.call(options, async (abort) => {
      const found = await this.#calls.docker.listContainers({ all: true, filters: { label }, ...abort });
      return inOrder(found).map(listedContainer);
    });
  }

  /**
   * Starts a container. The only time limit is `signal`.
   *
   * @returns "already" if the container was running or stopping before the call
   * @throws TargetError, "conflict" if the container is paused or is being removed
   */
  async start(container: Named, signal: AbortSignal): Promise<"started" | "already"> {
    // Without the right to inspect, wakeport cannot find the container's address, nor stop it later.
    if (this.refusals.has("inspect")) await this.inspect(container, signal);
    const options = callOn("start", container, MAX_TIMER_MS, signal);
    for (let starts = 1; ; starts += 1) {
      try {
        const isDone = await this.#calls.act(
          options,
          (abort) => this.#calls.docker.getContainer(container.id).start(abort),
          [304],
        );
        return isDone ? "started" : "already";
      } catch (error) {
        // Podman also answers with a conflict while the container is stopping.
        if (!this.isPodman || !isConflict(error) || starts === MAX_STARTS) throw error;
        const { isPaused, isRunning } = await this.inspect(container, signal);
        if (isPaused) throw error;
        if (isRunning) return "already";
      }
    }
  }

  /**
   * Stops a container and resolves when it has stopped. Does nothing if it is stopped or does not exist.
   *
   * @param graceMs milliseconds from the stop signal to SIGKILL
   * @param ownGrace whether `graceMs` is the container's own setting, which the engine knows
   * @throws TargetError
   */
  async stop(container: Named, graceMs: number, ownGrace: boolean, signal: AbortSignal): Promise<void> {
    const options = callOn("stop", container, timerMs(graceMs + STOP_MARGIN_MS), signal);
    // Podman does not always know the container's setting.
    const grace = ownGrace && !this.isPodman ? {} : { t: Math.ceil(graceMs / 1000) };
    const request: Request<unknown> = (abort) =>
      this.#calls.docker.getContainer(container.id).stop({ ...grace, ...abort });
    try {
      await this.#calls.act(options, request, [304, 404]);
    } catch (error) {
      if (!this.isPodman || !isConflict(error) || !(await this.inspect(container, signal)).isPaused) throw error;
      // Docker stops paused containers; Podman does not.
      await this.unpause(container, signal);
      await this.stop(container, graceMs, ownGrace, signal);
    }
  }

  /**
   * Sends SIGKILL to a container. Does nothing if it does not exist.
   *
   * @throws TargetError, "conflict" if it is stopped
   */
  async kill(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("kill", container, QUICK_MS, signal);
    await this.#calls.act(options, (abort) => this.#calls.docker.getContainer(container.id).kill(abort), [404]);
  }

  /** Pauses a container. @throws TargetError, "conflict" if it is stopped or already paused */
  async pause(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("pause", container, QUICK_MS, signal);
    await this.#calls.act(options, (abort) => this.#calls.docker.getContainer(container.id).pause(abort));
  }

  /** Unpauses a container. @throws TargetError if it is not paused */
  async unpause(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("unpause", container, QUICK_MS, signal);
    await this.#calls.act(options, (abort) => this.#calls.docker.getContainer(container.id).unpause(abort));
  }

  /** Lists the containers that `owner` created, including stopped ones, newest first. @throws TargetError */
  async findCreated(owner: string, signal: AbortSignal): Promise<readonly CreatedContainerFacts[]> {
    const options = { operation: "list", subject: "containers", deadlineMs: QUICK_MS, signal } as const;
    return this.#calls.call(options, async (abort) => {
      const label = [`${ownerLabel}=${owner}`];
      const found = await this.#calls.docker.listContainers({ all: true, filters: { label }, ...abort });
      return found.toSorted((a, b) => b.Created - a.Created).map((one: RawListed) => listedOf(one));
    });
  }

  /**
   * Creates a stopped container in the first of its networks.
   *
   * @returns its id; undefined if the engine does not have the image
   * @throws TargetError, "conflict" if another container has the name
   */
  async create({ name, body }: CreateRequest, signal: AbortSignal): Promise<string | undefined> {
    const options = callOn("create", name, DISK_MS, signal);
    const parts = { _query: { name }, _body: body };
    try {
      return (await this.#calls.call(options, (abort) => this.#calls.untyped.createContainer({ ...parts, ...abort })))
        .id;
    } catch (error) {
      if (error instanceof TargetError && isImageMissing(error.cause)) return undefined;
      throw error;
    }
  }

  /** Connects a container to another network. @throws TargetError */
  async connect(container: Named, network: string, signal: AbortSignal): Promise<void> {
    const options = callOn("connect", container, QUICK_MS, signal);
    await this.#calls.call(options, (abort) =>
      this.#calls.docker.getNetwork(network).connect({ Container: container.id, ...abort }),
    );
  }

  /** Removes a stopped container and its anonymous volumes. @throws TargetError, "conflict" if it runs */
  async remove(container: Named, signal: AbortSignal): Promise<void> {
    const options = callOn("remove", container, DISK_MS, signal);
    await this.#calls.act(
      options,
      (abort) => this.#calls.docker.getContainer(container.id).remove({ v: true, ...abort }),
      [404],
    );
  }

  /**
   * Begins to pull an image. Returns the engine's report as newline-delimited JSON, which includes errors. The pull ends
   * when `signal` is aborted.
   *
   * @throws TargetError
   */
  async pull(image: string, signal: AbortSignal): Promise<NodeJS.ReadableStream> {
    const options = { operation: "pull", subject: image, deadlineMs: MAX_TIMER_MS, signal } as const;
    return this.#calls.call(options, ({ abortSignal }) =>
      this.#calls.streams.createImage({ fromImage: image, abortSignal: AbortSignal.any([abortSignal, signal]) }),
    );
  }

  /**
   * Opens the stream of events of containers and networks as newline-delimited JSON. Podman sends its HTTP header with
   * the first event.
   *
   * @param since Unix time in seconds
   * @param actions Docker's names of the events
   * @throws TargetError
   */
  async events(since: number, actions: readonly string[], signal: AbortSignal): Promise<NodeJS.ReadableStream> {
    const deadlineMs = this.isPodman ? MAX_TIMER_MS : QUICK_MS;
    const options = { operation: "events", subject: "", deadlineMs, signal } as const;
    const filters = { type: ["container" as const, "network" as const], event: eventFilter(actions) };
    const query = { since, filters, abortSignal: signal };
    return this.#calls.call(options, () => this.#calls.docker.getEvents(query));
  }

  /** Closes all connections and fails all calls under way. */
  close(): void {
    this.#calls.close();
  }
}

function listedContainer({ Id, Names, Labels, Created }: Dockerode.ContainerInfo): ListedContainer {
  return { id: Id, name: nameOf(Names), labels: Labels, created: Created };
}

/** Containers that link to this one add further names, such as `/web/db`. */
function nameOf(names: readonly string[] = []): string {
  const own = names.find((name) => name.lastIndexOf("/") === 0) ?? names[0] ?? "";
  return own.replace(/^\//, "");
}

function isConflict(error: unknown): boolean {
  return error instanceof TargetError && error.fault === "conflict";
}
