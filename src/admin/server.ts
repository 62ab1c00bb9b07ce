import http from "node:http";
import type net from "node:net";
import { BindError, messageOf, takenBy } from "../errors.ts";
import { printableJson } from "../net/escape.ts";
import { bindReason } from "../proxy/listen/listener.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { OpenConnection, ServiceDetails, StatusReport } from "./api.ts";
import { rejectionOf } from "./guard.ts";

/** Limit of concurrent clients. More would take descriptors that the services need. */
export const MAX_ADMIN_CLIENTS = 16;
/** Deadline for the request of a client. */
const HEAD_MS = 2_000;
/** Deadline for a whole exchange. Metrics and status are small. */
const REQUEST_MS = 5_000;
/** Interval of Node's own checks of these deadlines. It is long, because each check wakes an idle process. */
const CHECK_MS = 3_600_000;
/** Connections of a service that are listed. */
const MAX_OPEN = 1_000;

export interface AdminOptions {
  readonly host: string;
  readonly port: number;
  /** Host names and patterns that are accepted in addition to the built-in ones. */
  readonly allowedHosts: () => readonly string[];
  readonly metrics: Pick<Metrics, "contentType" | "text" | "outcomesOf">;
  readonly status: () => StatusReport;
  /** Returns the first `limit` connections of a service. */
  readonly open: (service: string, limit: number) => readonly OpenConnection[];
  /** Returns undefined if wakeport is ready, else the reason. */
  readonly notReady: () => string | undefined;
}

/** A browser must neither render a response, nor show it in a frame, nor give it to pages of other sites. */
const securityHeaders = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "x-frame-options": "DENY",
  "cross-origin-resource-policy": "same-origin",
};

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Serves metrics, health and status. Requests never start or hold a target. */
export class AdminServer {
  readonly #options: AdminOptions;
  readonly #server: http.Server;
  /** Connections without a request, oldest first, each with the timer that closes it. */
  readonly #idle = new Map<net.Socket, NodeJS.Timeout>();
  /** Connections with a pending request, oldest first. */
  readonly #busy = new Set<net.Socket>();

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#server = http.createServer({ connectionsCheckingInterval: CHECK_MS }, (request, response) => {
      this.#keepBusy(request.socket, response);
      void this.#answer(request)
        .catch((error: unknown) => text(500, messageOf(error)))
        .then(({ status, type, body }) => {
          // The connection closes after a request with a body, which may arrive slowly.
          const rest = hasBody(request) ? { connection: "close" } : {};
          response.writeHead(status, { "content-type": type, ...securityHeaders, ...rest });
          response.end(request.method === "HEAD" ? undefined : body);
        });
    });
    this.#server.on("connection", (socket) => this.#accept(socket));
    this.#server.setTimeout(REQUEST_MS);
  }

  /** The bound port. It differs from the configured port only for port 0. */
  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === "string" ? this.#options.port : address.port;
  }

  /** @throws BindError */
  async open(): Promise<void> {
    const { host, port } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.listen({ host, port, exclusive: true }, resolve);
    try {
      await promise;
    } catch (cause) {
      const reason = bindReason(cause, "ss -ltnp");
      const message = `the admin server cannot listen on ${host}:${port}: ${reason}; set "admin.listen" to another address`;
      throw new BindError(message, { cause, taken: takenBy(cause, { port }) });
    } finally {
      this.#server.off("error", reject);
    }
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  /** Closes the oldest connection without a request if too many are open, so that silent clients block no other client. */
  #accept(socket: net.Socket): void {
    if (this.#idle.size + this.#busy.size >= MAX_ADMIN_CLIENTS) {
      const [oldest] = this.#idle.size > 0 ? this.#idle.keys() : this.#busy;
      oldest?.destroy();
      this.#forget(oldest);
    }
    this.#keepIdle(socket, HEAD_MS);
    socket.once("close", () => this.#forget(socket));
  }

  #keepIdle(socket: net.Socket, ms: number): void {
    this.#idle.set(
      socket,
      setTimeout(() => socket.destroy(), ms),
    );
  }

  #keepBusy(socket: net.Socket, response: http.ServerResponse): void {
    this.#forget(socket);
    this.#busy.add(socket);
    response.once("close", () => {
      if (this.#busy.delete(socket) && !socket.destroyed) this.#keepIdle(socket, REQUEST_MS);
    });
  }

  #forget(socket: net.Socket | undefined): void {
    if (socket === undefined) return;
    clearTimeout(this.#idle.get(socket));
    this.#idle.delete(socket);
    this.#busy.delete(socket);
  }

  async #answer(request: http.IncomingMessage): Promise<Answer> {
    const { metrics, status, notReady } = this.#options;
    const rejection = rejectionOf(request, this.#options.allowedHosts());
    if (rejection !== undefined) return text(rejection.status, rejection.message);
    if (request.method !== "GET" && request.method !== "HEAD") return text(405, "only GET and HEAD are allowed");
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    switch (path) {
      case "/metrics":
        return { status: 200, type: metrics.contentType, body: await metrics.text() };
      case "/healthz":
        return text(200, "ok");
      case "/readyz": {
        const missing = notReady();
        return missing === undefined ? text(200, "ready") : text(503, missing);
      }
      case "/api/v1/services":
        return json(200, status());
      default:
        return await this.#serviceDetails(path);
    }
  }

  async #serviceDetails(path: string): Promise<Answer> {
    const name = /^\/api\/v1\/services\/([^/]+)$/.exec(path)?.[1];
    const { status, open, metrics } = this.#options;
    const service = status().services.find((status) => encodeURIComponent(status.name) === name);
    if (service !== undefined) {
      const counts = await metrics.outcomesOf(service.name);
      const details: ServiceDetails = { ...service, ...counts, open: open(service.name, MAX_OPEN) };
      return json(200, details);
    }
    return text(404, "not found; paths: /metrics /healthz /readyz /api/v1/services[/NAME]");
  }
}

function hasBody({ headers }: http.IncomingMessage): boolean {
  return headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
}

function text(status: number, body: string): Answer {
  return { status, type: "text/plain; charset=utf-8", body: `${body}\n` };
}

function json(status: number, body: unknown): Answer {
  return { status, type: "application/json", body: `${printableJson(JSON.stringify(body))}\n` };
}
