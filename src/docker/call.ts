/** Requests to the engine: deadlines, cancellation, reports and the translation of errors. */
import type http from "node:http";
import Dockerode from "dockerode";
import { within } from "../async/wait.ts";
import { TargetError } from "../errors.ts";
import type { ContainerFacts } from "./container-facts.ts";
import { callCode, engineFault, isRefusal, type Operation, statusOf } from "./faults.ts";
import type { EngineHost } from "./host.ts";
import { engineAgent } from "./http-agent.ts";
import { isPodmanAnswer } from "./podman.ts";
import { RefusedOperations } from "./refused-operations.ts";
import type { EngineObserver } from "./reports.ts";

/** A container to act on: the id for the request, the name for messages. */
export type Named = Pick<ContainerFacts, "id" | "name">;

export interface CallOptions {
  readonly operation: Operation;
  /** What the request is about, for messages: `container db`. Empty for the engine itself. */
  readonly subject: string;
  /** The container's id, if the request has it. */
  readonly id?: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

/** The option of dockerode that cancels a request. */
type Abortable = { abortSignal: AbortSignal };
export type Request<T> = (abort: Abortable) => Promise<T>;

/** Options that dockerode has and its type package lacks. */
interface UntypedCalls {
  ping(options: Abortable): Promise<unknown>;
  version(options: Abortable): Promise<Dockerode.DockerVersion>;
  /** With one options object for both, dockerode also puts the body into the URL. */
  createContainer(options: Abortable & { _query: object; _body: object }): Promise<{ readonly id: string }>;
}

export class EngineCalls {
  readonly docker: Dockerode;
  /** For long streams. It has no limit of connections, so that streams do not delay other calls. */
  readonly streams: Dockerode;
  readonly untyped: UntypedCalls;
  /** Operations that a socket proxy in front of the engine refuses. */
  readonly refusals: RefusedOperations;
  readonly #host: EngineHost;
  readonly #observer: EngineObserver;
  readonly #agents: readonly http.Agent[];
  readonly #closing = new AbortController();
  #isPodman = false;

  constructor(host: EngineHost, observer: EngineObserver) {
    this.refusals = new RefusedOperations((sentence) => observer.warning("engine.refuses", sentence));
    this.#host = host;
    this.#observer = observer;
    const isSecure = host.tls !== undefined;
    const onAnswer = (headers: http.IncomingHttpHeaders): void => {
      this.#isPodman = isPodmanAnswer(headers) ?? this.#isPodman;
    };
    const agent = engineAgent({ isSecure, onAnswer });
    const streamAgent = engineAgent({ isSecure, maxSockets: Number.POSITIVE_INFINITY });
    this.#agents = [agent, streamAgent];
    this.docker = new Dockerode(through(host, agent));
    this.untyped = this.docker as UntypedCalls;
    this.streams = new Dockerode(through(host, streamAgent));
  }

  /** Whether the last answer came from Podman. */
  get isPodman(): boolean {
    return this.#isPodman;
  }

  /**
   * Sends one request. It has its own deadline: if the engine dies in the middle of an answer, the promise of dockerode
   * stays pending even after its signal is aborted.
   *
   * @throws TargetError; the reason of the signal
   */
  async call<T>(options: CallOptions, request: Request<T>): Promise<T> {
    const { operation, deadlineMs } = options;
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closing.signal]) : this.#closing.signal;
    signal.throwIfAborted();
    const began = performance.now();
    const cancel = new AbortController();
    let code = "2xx";
    try {
      const answer = await within(deadlineMs, operation, request({ abortSignal: cancel.signal }), signal);
      this.refusals.succeeded(operation);
      return answer;
    } catch (error) {
      cancel.abort();
      if (signal.aborted) {
        code = "cancelled";
        throw signal.reason;
      }
      code = callCode(error);
      const fault = engineFault(error, options, this.#host);
      if (isRefusal(error) && fault.fault === "denied") this.refusals.refused(operation, fault);
      throw fault;
    } finally {
      this.#observer.engineCall({ operation, code, durationMs: performance.now() - began });
    }
  }

  /**
   * Sends a request whose answer has no content.
   *
   * @param noOpStatuses HTTP status codes that mean that nothing had to be done
   * @returns false if the engine answered with one of `needless`
   * @throws TargetError; the reason of the signal
   */
  async act(options: CallOptions, request: Request<unknown>, noOpStatuses: readonly number[] = []): Promise<boolean> {
    try {
      await this.call(options, request);
      return true;
    } catch (error) {
      const status = error instanceof TargetError ? statusOf(error.cause) : undefined;
      if (status === undefined || !noOpStatuses.includes(status)) throw error;
      return false;
    }
  }

  /** Closes all connections and fails all calls under way. */
  close(): void {
    // Without the abort, a call whose connection breaks in the middle of an answer waits for its deadline.
    this.#closing.abort(new TargetError("unreachable", `the connection to the engine at ${this.#host.url} is closed`));
    for (const agent of this.#agents) agent.destroy();
  }
}

/** The options of a call about one container. */
export function callOn(
  operation: Operation,
  container: string | Named,
  deadlineMs: number,
  signal?: AbortSignal,
): CallOptions {
  const { name, id } = typeof container === "string" ? { name: container, id: container } : container;
  const shortName = /^[0-9a-f]{64}$/.test(name) ? name.slice(0, 12) : name;
  return { operation, subject: `container ${shortName}`, id, deadlineMs, ...(signal && { signal }) };
}

/** All options are present, even if undefined: dockerode takes missing ones from the environment. */
function through({ socketPath, host, port, tls }: EngineHost, agent: http.Agent): Dockerode.DockerOptions {
  const protocol = tls === undefined ? "http" : "https";
  const options = { socketPath, host, port, protocol, agent, ...tls } as const;
  return options as Dockerode.DockerOptions;
}
