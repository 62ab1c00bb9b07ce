/**
 * Hands each client to a program of its own, as inetd does: the connection itself is its stdin and stdout, nothing is
 * relayed, and the program sees who its client is. What the client sends, when, and whether it is still there, is from
 * then on between the two.
 */

import type net from "node:net";
import { plainAddress } from "../../net/addresses.ts";
import type { Worker, Workers } from "../../targets/worker.ts";
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

  /** @throws TargetError when the program cannot be started */
  async serve({ socket, signal, served: opened }: Client): Promise<Served> {
    signal.throwIfAborted();
    const stderr = this.#stderr === "socket" ? socket : "pipe";
    const worker = await this.#workers.start([socket, socket, stderr], addressesOf(socket));
    // Not end(), which would end the connection itself: only our copy, or the client never sees it end.
    socket.destroy();
    opened({ pid: worker.pid });
    return served(await worker.exited);
  }
}

/** How a client was served by a program that has ended. */
export function served(exit: Awaited<Worker["exited"]>): Served {
  return { outcome: "served", end: exit.signal === undefined ? "exited" : "killed", exit };
}

/** Who talks to whom, under the names that programs look for: xinetd's, systemd's and those of tcpserver. */
export function addressesOf(socket: net.Socket): Record<string, string> {
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
