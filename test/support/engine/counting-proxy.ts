/** A proxy in front of an engine's socket that records the requests. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

const SOCKET = "/var/run/docker.sock";

export class CountingProxy implements AsyncDisposable {
  /** Each request in order: `POST /containers/ID/start`. */
  readonly requests: string[] = [];
  /** When each of them arrived: milliseconds of the clock of process.hrtime(). */
  readonly times: number[] = [];
  #open = 0;
  readonly #folder: string;
  readonly #server: http.Server;
  readonly #agent = new http.Agent({ keepAlive: true });

  private constructor(folder: string) {
    this.#folder = folder;
    this.#server = http.createServer((request, response) => this.#forward(request, response));
  }

  static async open(): Promise<CountingProxy> {
    const proxy = new CountingProxy(await mkdtemp(path.join(tmpdir(), "wakeport-test-")));
    proxy.#server.listen(proxy.socketPath);
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** Whether each request except event streams is answered. */
  get isIdle(): boolean {
    return this.#open === 0;
  }

  /** The value for `docker.host`. */
  get host(): string {
    return `unix://${this.socketPath}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
    this.#agent.destroy();
    await rm(this.#folder, { recursive: true });
  }

  get socketPath(): string {
    return path.join(this.#folder, "docker.sock");
  }

  #forward(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { method, url = "/", headers } = request;
    const { pathname } = new URL(url, "http://engine");
    this.requests.push(`${method} ${pathname}`);
    this.times.push(Number(process.hrtime.bigint()) / 1e6);
    if (pathname !== "/events") {
      this.#open += 1;
      response.once("close", () => {
        this.#open -= 1;
      });
    }
    const forwarded = http.request({ socketPath: SOCKET, agent: this.#agent, method, path: url, headers });
    forwarded.once("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
    });
    forwarded.on("error", () => response.destroy());
    response.once("close", () => forwarded.destroy());
    request.pipe(forwarded);
  }
}
