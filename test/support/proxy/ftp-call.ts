/** One relayed control connection. The test is both the client and the server. */
import net from "node:net";
import { addressesOf, type SocketAddress } from "../../../src/net/addresses.ts";
import { type Meter, nodeRelayer, type RelayEnd } from "../../../src/net/relay.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";
import type { ControlConnection } from "../../../src/proxy/data-ports.ts";
import { Ftp, type FtpOptions } from "../../../src/proxy/protocols/ftp/ftp.ts";
import type { Progress } from "../../../src/proxy/protocols/protocol.ts";
import { observer } from "../../../src/telemetry/observer.ts";
import { eventually } from "../eventually.ts";
import { type Pair, Peer, pair } from "../net/tcp.ts";

export const progress: Progress = {
  service: "ftp",
  state: "starting",
  pending: [],
  since: 0,
  lastLines: async () => [],
};

export interface CallOptions extends Partial<FtpOptions> {
  readonly control?: ControlConnection;
  /** The client's address behind a proxy; absent: the address of the socket. */
  readonly peer?: SocketAddress;
}

export class Call implements AsyncDisposable {
  readonly client: Peer;
  readonly server: Peer;
  /** wakeport's end of the client's connection. */
  readonly near: net.Socket;
  readonly meter: Meter = { in: 0, out: 0 };
  readonly lost: AbortController = new AbortController();
  readonly warnings: string[] = [];
  readonly slots: Slots;
  end: RelayEnd | undefined;
  readonly #pairs: readonly Pair[];
  readonly #done: Promise<void>;

  private constructor(client: Pair, server: Pair, options: CallOptions) {
    const {
      control,
      peer = addressesOf(client.near).peer,
      slots = new Slots({ limit: 100, what: "slots" }),
      ...rest
    } = options;
    this.#pairs = [client, server];
    this.client = client.far;
    this.server = server.far;
    this.near = client.near;
    this.slots = slots;
    const observing = observer({ warning: (event) => this.warnings.push(event) });
    const ftp = new Ftp({ service: "ftp", observer: observing, slots, hold: { kind: "silent" }, ...rest });
    const waitingClient = { socket: client.near, signal: new AbortController().signal, progress };
    const { lost, meter } = this;
    const sockets = { client: client.near, upstream: server.near };
    const relayed = ftp.hold(waitingClient).relay({
      ...sockets,
      peer,
      relayer: nodeRelayer,
      meters: [meter],
      lost: lost.signal,
      ...(control && { control }),
    });
    this.#done = relayed.then((end) => {
      this.end = end;
    });
  }

  /** Opens the connection, and waits until the client has the greeting. */
  static async open(options: CallOptions = {}): Promise<Call> {
    const call = new Call(await pair(), await pair(), options);
    call.server.send("220 hello\r\n");
    await call.client.receives(11);
    return call;
  }

  /** Sends a command and its reply. @returns the reply that the client received */
  async exchange(command: string, reply: string): Promise<string> {
    const [before, start] = [this.server.received, this.client.received];
    this.client.send(`${command}\r\n`);
    await eventually("the server received the command", () => this.server.text.slice(before).endsWith("\n"));
    this.server.send(`${reply}\r\n`);
    await eventually("the client received the reply", () => this.client.text.slice(start).endsWith("\n"));
    return this.client.text.slice(start).trimEnd();
  }

  /** Announces the server's port for data with EPSV. @returns the port that the client received */
  async passive(port: number): Promise<number> {
    const reply = await this.exchange("EPSV", `229 ok (|||${port}|)`);
    return Number(/\|(\d+)\|/.exec(reply)?.[1]);
  }

  /** Announces the client's port for data with EPRT. @returns the port that the server received */
  async active(port: number): Promise<number> {
    const before = this.server.received;
    await this.exchange(`EPRT |1|127.0.0.1|${port}|`, "200 ok");
    return Number(/\|(\d+)\|\r/.exec(this.server.text.slice(before))?.[1]);
  }

  async ended(): Promise<RelayEnd | undefined> {
    await eventually("the relay has ended", () => this.end !== undefined);
    return this.end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.lost.abort(new Error("the test is over"));
    for (const one of this.#pairs) one[Symbol.dispose]();
    await this.#done;
  }
}

/** Connects from another address of this machine. */
export function connectingFrom(localAddress: string, port: number): Peer {
  return new Peer(net.connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: true }));
}
