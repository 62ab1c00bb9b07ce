import { once } from "node:events";
import net from "node:net";
import { codeOf, messageOf, TargetError } from "../errors.ts";
import { reset } from "../net/reset.ts";
import { listenerFd } from "./descriptor.ts";

/** A listening socket for one program and nobody else: bound here, served there. */
export class PrivateListener implements Disposable {
  readonly #server: net.Server;
  readonly port: number;

  private constructor(server: net.Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /**
   * Binds it; hand it over before anything else happens, because until then it is we who accept.
   *
   * @param port absent: any that is free
   * @throws TargetError when that port is taken
   */
  static async open({ host, port = 0 }: { readonly host: string; readonly port?: number }): Promise<PrivateListener> {
    const server = net.createServer((stray) => reset(stray));
    server.listen({ host, port, exclusive: true });
    try {
      await once(server, "listening");
    } catch (error) {
      if (codeOf(error) !== "EADDRINUSE") {
        throw new TargetError("failed", `cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error });
      }
      throw new TargetError("conflict", `something else already listens on ${host}:${port}`, {
        remedy: `find it with "ss -ltnp" and end it, or leave out "listen": any free port will do`,
        cause: error,
      });
    }
    return new PrivateListener(server, (server.address() as net.AddressInfo).port);
  }

  /** For a child's stdio. */
  get fd(): number {
    return listenerFd(this.#server);
  }

  /** Closes our copy, at once. Who has the other one goes on listening. */
  [Symbol.dispose](): void {
    this.#server.close();
  }
}
