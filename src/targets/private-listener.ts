import { lookup } from "node:dns/promises";
import { once } from "node:events";
import net from "node:net";
import { codeOf, messageOf, TargetError } from "../errors.ts";
import { backlogOf } from "../net/backlog.ts";
import { bindPausable, listenerFd, pauseAccepting } from "../net/listening-socket.ts";
import { reset } from "../net/reset.ts";

/**
 * A listening socket for one program. wakeport binds it, keeps it open and never accepts on it, so its clients stay in
 * the backlog until the program or its successor accepts them.
 */
export class PrivateListener implements Disposable {
  readonly #server: net.Server;
  readonly port: number;

  private constructor(server: net.Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /**
   * @param port default: any free port
   * @throws TargetError if the port is taken
   */
  static async open({ host, port = 0 }: { readonly host: string; readonly port?: number }): Promise<PrivateListener> {
    const server = net.createServer((stray) => reset(stray));
    try {
      const { address } = await lookup(host);
      server.listen(bindPausable(address, port));
      await once(server, "listening");
      // In the same turn of the event loop as `listen`, so before the first accept.
      pauseAccepting(server);
    } catch (error) {
      server.close();
      if (codeOf(error) !== "EADDRINUSE") {
        throw new TargetError("failed", `cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error });
      }
      throw new TargetError("conflict", `another process already listens on ${host}:${port}`, {
        remedy: `find it with "ss -ltnp" and end it, or remove "listen" to use any free port`,
        cause: error,
      });
    }
    return new PrivateListener(server, (server.address() as net.AddressInfo).port);
  }

  /** For a child's stdio. */
  get fd(): number {
    return listenerFd(this.#server);
  }

  /** Address and port of each client that no program has accepted yet. */
  get waiting(): ReadonlySet<string> {
    return backlogOf(this.fd);
  }

  /** Closes it at once. The clients in the backlog are reset unless a program still has a copy. */
  [Symbol.dispose](): void {
    this.#server.close();
  }
}
