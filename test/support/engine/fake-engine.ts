/**
 * An HTTP server on a unix socket that looks like a Docker engine with one container, for faults that a real engine
 * cannot be made to show. Its responses can be replaced by route.
 */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { PeerServer } from "../net/tcp.ts";
import type { Upstream } from "./wakeport.ts";

export type Answer = (response: http.ServerResponse, request: http.IncomingMessage) => void;

/** The requests that wakeport may send, so that a narrow socket proxy is enough. */
const ALLOWED = [
  /^GET \/(_ping|version|events|containers\/json)$/,
  /^GET \/containers\/[\w.-]+\/(json|logs|stats)$/,
  /^POST \/containers\/[\w.-]+\/(start|stop|pause|unpause)$/,
];

export class FakeEngine implements AsyncDisposable {
  /** Each request in order: `POST /containers/fake/start`. */
  readonly requests: string[] = [];
  readonly container: FakeContainer;
  /** Open event streams. */
  readonly streams: Set<http.ServerResponse> = new Set();
  readonly #socketPath: string;
  readonly #folder: string;
  readonly #server: http.Server;
  readonly #answers = new Map<string, Answer[]>();

  private constructor(folder: string, container: FakeContainer) {
    this.#folder = folder;
    this.#socketPath = path.join(folder, "docker.sock");
    this.container = container;
    this.#server = http.createServer((request, response) => this.#answer(request, response));
  }

  /** Creates an engine that does not listen yet. */
  static async create(): Promise<FakeEngine> {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    return new FakeEngine(folder, await FakeContainer.open());
  }

  static async open(): Promise<FakeEngine> {
    const engine = await FakeEngine.create();
    await engine.listen();
    return engine;
  }

  get socketPath(): string {
    return this.#socketPath;
  }

  /** The value for `docker.host`. */
  get host(): string {
    return `unix://${this.#socketPath}`;
  }

  async listen(): Promise<void> {
    this.#server.listen(this.#socketPath);
    await once(this.#server, "listening");
  }

  /** Replaces the response to the next request of a route (`POST start`, `GET json`, `GET list`). */
  once(route: string, answer: Answer): void {
    this.#answers.set(route, [...(this.#answers.get(route) ?? []), answer]);
  }

  /** Writes to the event streams. */
  emit(text: string): void {
    for (const stream of this.streams) stream.write(text);
  }

  /** The number of connected clients. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
    });
  }

  /** Requests that a narrow socket proxy would deny. */
  get forbidden(): string[] {
    return this.requests.filter((request) => !ALLOWED.some((shape) => shape.test(request)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, "close");
    }
    await this.container[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { pathname } = new URL(request.url ?? "/", "http://engine");
    this.requests.push(`${request.method} ${pathname}`);
    const route = pathname === "/containers/json" ? "GET list" : `${request.method} ${pathname.split("/").at(-1)}`;
    const answer = this.#answers.get(route)?.shift() ?? this.#usual[route];
    if (answer === undefined) json(404, { message: "page not found" })(response, request);
    else answer(response, request);
  }

  #turnTo(isPaused: boolean, response: http.ServerResponse, request: http.IncomingMessage): void {
    if (isPaused ? !this.container.isAwakeNow : !this.container.isPaused) {
      return json(isPaused ? 409 : 500, { message: `Container is ${isPaused ? "" : "not "}paused` })(response, request);
    }
    this.container.isPaused = isPaused;
    response.writeHead(204).end();
  }

  readonly #usual: Readonly<Record<string, Answer>> = {
    "GET _ping": (response) => void response.end("OK"),
    "GET version": json(200, { Version: "0.0", ApiVersion: "1.41" }),
    "GET events": (response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.flushHeaders();
      this.streams.add(response);
      response.once("close", () => this.streams.delete(response));
    },
    "GET json": (response, request) => {
      const { name, id } = this.container;
      const exists = [name, id].some((reference) => request.url?.includes(`/${reference}/`) === true);
      const answer = exists ? json(200, this.container.inspected) : json(404, { message: "No such container" });
      answer(response, request);
    },
    "GET list": (response, request) => {
      const isAsked = request.url?.includes("compose.service%3Dservice") === true;
      json(200, isAsked ? [this.container.listed] : [])(response, request);
    },
    "GET stats": json(200, { networks: { eth0: { rx_bytes: 0, tx_bytes: 0 } } }),
    "GET logs": (response) => void response.end(),
    "POST start": (response) => {
      const status = this.container.isRunning ? 304 : 204;
      this.container.isRunning = true;
      response.writeHead(status).end();
    },
    "POST pause": (response, request) => this.#turnTo(true, response, request),
    "POST unpause": (response, request) => this.#turnTo(false, response, request),
    "POST stop": (response) => {
      const status = this.container.isRunning ? 204 : 304;
      this.container.isRunning = false;
      response.writeHead(status).end();
    },
  };
}

/** A server in this process that stands for a container. It always listens; its state is the engine's. */
export class FakeContainer implements Upstream, AsyncDisposable {
  readonly id: string = "f".repeat(64);
  readonly name = "fake";
  readonly #server: PeerServer;
  isPaused = false;
  #isRunning = false;
  #starts = 0;

  private constructor(server: PeerServer) {
    this.#server = server;
  }

  static async open(): Promise<FakeContainer> {
    const onPeer: NonNullable<Parameters<typeof PeerServer.open>[0]>["onPeer"] = (peer) => {
      peer.send("220 0\n");
      peer.socket.pipe(peer.socket);
    };
    return new FakeContainer(await PeerServer.open({ onPeer }));
  }

  get port(): number {
    return this.#server.port;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  set isRunning(isRunning: boolean) {
    if (isRunning && !this.#isRunning) this.#starts += 1;
    this.#isRunning = isRunning;
    if (!isRunning) this.isPaused = false;
  }

  get isAwakeNow(): boolean {
    return this.#isRunning && !this.isPaused;
  }

  async isAwake(): Promise<boolean> {
    return this.isAwakeNow;
  }

  get listed(): object {
    return { Id: this.name, Labels: {}, State: this.#isRunning ? "running" : "exited", Created: 0 };
  }

  get inspected(): object {
    return {
      Id: this.id,
      Name: `/${this.name}`,
      State: {
        Running: this.#isRunning,
        Paused: this.isPaused,
        Restarting: false,
        OOMKilled: false,
        ExitCode: 0,
        FinishedAt: "0001-01-01T00:00:00Z",
        StartedAt: `2026-01-01T00:00:0${this.#starts}Z`,
      },
      Config: { Labels: {}, Tty: false },
      HostConfig: { NetworkMode: "default" },
      NetworkSettings: { Networks: { bridge: { NetworkID: "n", IPAddress: "127.0.0.1" } } },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

/** A container event in the format of the engine. */
export function eventLine({ id, name }: FakeContainer, action: string): string {
  return `${JSON.stringify({ Type: "container", Action: action, Actor: { ID: id, Attributes: { name } } })}\n`;
}

export function json(status: number, body: object): Answer {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
}

/** Announces a long response, sends its beginning and disconnects. */
export const dieMidAnswer: Answer = (response) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": 1_000 });
  response.write('{"Id"');
  setTimeout(() => response.destroy(), 20);
};
