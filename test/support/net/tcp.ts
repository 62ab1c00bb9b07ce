/** Real sockets for tests, on free ports of this machine. Each wait has a deadline. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { Worker } from "node:worker_threads";
import { eventually } from "../eventually.ts";

/** One end of a connection, which keeps the received bytes and records how the other side ended. */
export class Peer implements Disposable {
  readonly socket: net.Socket;
  readonly #chunks: Buffer[] = [];
  #received = 0;
  #ended = false;
  #error: string | undefined;
  #closed = false;

  /** The socket must allow half-open connections: the test decides when this side ends. */
  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#received += chunk.length;
    });
    socket.on("end", () => {
      this.#ended = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? error.message;
    });
    socket.on("close", () => {
      this.#closed = true;
    });
  }

  /** Bytes received so far. */
  get received(): number {
    return this.#received;
  }

  get data(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.data.toString();
  }

  /** `open`; `ended` after a half-close of the other side; or the error code (`ECONNRESET`). */
  get fate(): string {
    return this.#error ?? (this.#ended ? "ended" : "open");
  }

  send(data: string | Buffer): void {
    this.socket.write(data);
  }

  end(data: string | Buffer = ""): void {
    this.socket.end(data);
  }

  /** Sends endlessly, as fast as the other side reads. */
  flood(chunk: Buffer): void {
    const fill = (): void => {
      // One write for each turn of the event loop: a fast reader must not block everything else.
      if (this.socket.writable) this.socket.write(chunk, () => setImmediate(fill));
    };
    fill();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  async receives(bytes: number): Promise<void> {
    await eventually(`${bytes} bytes received, so far ${this.#received}`, () => this.#received >= bytes);
  }

  /** Waits until the other side ends. @returns the fate */
  async ended(): Promise<string> {
    await eventually("the connection ended", () => this.fate !== "open");
    return this.fate;
  }

  async closes(): Promise<void> {
    await eventually("the socket closed", () => this.#closed);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

export interface PeerServerOptions {
  readonly host?: string;
  readonly port?: number;
  /** Called for each connection. */
  readonly onPeer?: (peer: Peer) => void;
}

/** A server whose connections are peers. */
export class PeerServer implements AsyncDisposable {
  /** The accepted connections, in order. */
  readonly peers: Peer[] = [];
  readonly #server: net.Server;
  #handedOut = 0;

  private constructor(onPeer: (peer: Peer) => void) {
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const peer = new Peer(socket);
      this.peers.push(peer);
      onPeer(peer);
    });
  }

  static async open({ host = "127.0.0.1", port = 0, onPeer = () => {} }: PeerServerOptions = {}): Promise<PeerServer> {
    const server = new PeerServer(onPeer);
    server.#server.listen({ host, port });
    await once(server.#server, "listening");
    return server;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** Waits for the next connection in order. */
  async accepted(): Promise<Peer> {
    const index = this.#handedOut;
    this.#handedOut += 1;
    await eventually(`connection ${index + 1} accepted`, () => this.peers.length > index);
    return this.peers[index]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.peers) peer.socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }
}

/** Begins to connect to a port of this machine. A failure is the peer's fate. */
export function connecting(port: number, host = "127.0.0.1", localAddress?: string): Peer {
  const own = localAddress !== undefined && { localAddress };
  return new Peer(net.connect({ port, host, allowHalfOpen: true, noDelay: true, ...own }));
}

/** Connects to a port of this machine. @throws the system's error */
export async function connect(port: number, host?: string, localAddress?: string): Promise<Peer> {
  const peer = connecting(port, host, localAddress);
  await once(peer.socket, "connect");
  return peer;
}

/** Two ends of one connection: `near` is for the code under test, `far` for the test. */
export interface Pair extends Disposable {
  readonly near: net.Socket;
  readonly far: Peer;
}

/**
 * Opens a connection whose near end is as a listener or a dial returns it.
 *
 * @param from address of the far end; default: the kernel's choice
 */
export async function pair(from?: string): Promise<Pair> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const far = await connect((server.address() as net.AddressInfo).port, "127.0.0.1", from);
  const [near] = (await accepted) as [net.Socket];
  server.close();
  return {
    near,
    far,
    [Symbol.dispose]: () => {
      near.destroy();
      far.socket.destroy();
    },
  };
}

/** Returns a port that neither accepts nor refuses: each dial waits. */
export async function deafPort(): Promise<AsyncDisposable & { readonly port: number }> {
  // Listens and then blocks its thread, so that nothing is accepted. Two clients fill the backlog.
  const program = `
    const { parentPort } = require("node:worker_threads");
    const server = require("node:net").createServer();
    server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
      parentPort.postMessage(server.address().port);
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
    });`;
  const worker = new Worker(program, { eval: true });
  const [port] = (await once(worker, "message")) as [number];
  const fillers = [0, 1, 2].map(() => new Peer(net.connect({ port, host: "127.0.0.1" })));
  await eventually("the backlog is full", () => fillers.filter(({ socket }) => !socket.connecting).length >= 2);
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const filler of fillers) filler[Symbol.dispose]();
      await worker.terminate();
    },
  };
}

/** Returns the number of sockets on this machine that wait for `port` to accept. */
export function countDialling(port: number): number {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const SYN_SENT = "02";
  const sockets = readFileSync("/proc/net/tcp", "utf8").split("\n");
  return sockets.filter((line) => {
    const [, , to, state] = line.trim().split(/\s+/);
    return to?.endsWith(remote) && state === SYN_SENT;
  }).length;
}

/** Returns the number of sent bytes that the other side has not acknowledged. */
export function queuedTo({ localPort = 0, remotePort = 0 }: net.Socket): number {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, "0");
  const row = new RegExp(`:${hex(localPort)} [0-9A-F]+:${hex(remotePort)} .. ([0-9A-F]+):`);
  return Number.parseInt(row.exec(readFileSync("/proc/net/tcp", "utf8"))?.[1] ?? "0", 16);
}
