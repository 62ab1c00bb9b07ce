/**
 * Starts a program for each client, as inetd does. The connection is the program's stdin and stdout, so nothing is relayed,
 * and the program sees the client's address. wakeport neither reads the connection nor notices its end.
 */

import type net from "node:net";
import { plainAddress } from "../../net/addresses.ts";
import { reset } from "../../net/reset.ts";
import type { Worker, Workers } from "../../targets/inetd-workers.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

export class InetdNowait implements Handler {
  readonly isCold = false;
  readonly needsUnreadSocket = true;
  readonly #workers: Workers;
  readonly #stderr: "log" | "socket";

  constructor(workers: Workers, stderr: "log" | "socket") {
    this.#workers = workers;
    this.#stderr = stderr;
  }

  /** @throws TargetError if the program cannot be started; the reason of the signal, if the client was evicted meanwhile */
  async serve(client: Client): Promise<Served> {
    const { socket, signal } = client;
    signal.throwIfAborted();
    const stderr = this.#stderr === "socket" ? socket : "pipe";
    const worker = await this.#workers.start([socket, socket, stderr], environmentOf(socket));
    if (signal.aborted) {
      worker.kill();
      // The program has made it blocking: a read or write of a reply would block the event loop.
      reset(socket);
      throw signal.reason;
    }
    // Closes only wakeport's copy; end() would shut the connection down. Otherwise the client would not see the end.
    socket.destroy();
    client.opened({ pid: worker.pid });
    return served(await worker.exited);
  }
}

/** Returns the result for a client whose program has ended. */
export function served(exit: Awaited<Worker["exited"]>): Served {
  return { outcome: "served", end: exit.signal === undefined ? "exited" : "killed", exit };
}

/** Returns the addresses of a connection as environment variables of xinetd, systemd and tcpserver. */
export function environmentOf(socket: net.Socket): Record<string, string> {
  const remoteAddress = plainAddress(socket.remoteAddress);
  const remotePort = String(socket.remotePort ?? "");
  return {
    REMOTE_HOST: remoteAddress,
    REMOTE_ADDR: remoteAddress,
    REMOTE_PORT: remotePort,
    PROTO: "TCP",
    TCPLOCALIP: plainAddress(socket.localAddress),
    TCPLOCALPORT: String(socket.localPort ?? ""),
    TCPREMOTEIP: remoteAddress,
    TCPREMOTEPORT: remotePort,
  };
}
