/** The data connections of one control connection (RFC 959, 3.2), and the listeners for them. */
import type net from "node:net";
import { dial } from "../../../net/dial.ts";
import { formatIp, readIp } from "../../../net/ip.ts";
import { reset } from "../../../net/reset.ts";
import type { Slots } from "../../admission/slots.ts";
import type { HeldRelayOptions } from "../protocol.ts";
import { ClientDial } from "./client-dial.ts";
import type { DataConnectionOpener } from "./control-session.ts";
import { DataListener, reserve } from "./data-listener.ts";
import type { FtpAddress } from "./endpoints.ts";

/** The kernel repeats a SYN after 1 s and 3 s. */
const DIAL_MS = 10_000;

/** Both addresses of one side of the control connection. Servers reject data connections between other addresses. */
export interface AddressPair {
  readonly local: string;
  readonly remote: string;
}

export interface DataConnectionsOptions extends Pick<HeldRelayOptions, "meters" | "lost" | "control" | "relayer"> {
  readonly service: string;
  readonly client: AddressPair;
  readonly upstream: AddressPair;
  /** Slots of the whole process. A data connection needs as many descriptors as a client. */
  readonly slots: Slots;
  /** Called if a data connection to this side could not be opened. */
  readonly onFailure: (side: "client" | "upstream", error: unknown) => void;
}

export class DataConnections implements DataConnectionOpener {
  readonly #options: DataConnectionsOptions;
  readonly #running = new Set<Promise<void>>();
  /** The listener or reservation that was opened last. */
  #unused: Disposable | undefined;
  /** In active mode: the connection to the client's port, until the server connects. */
  #clientDial: ClientDial | undefined;
  /** The port in the last PORT command to the server. */
  #reserved: Disposable | undefined;
  #hasEnded = false;

  constructor(options: DataConnectionsOptions) {
    this.#options = options;
  }

  async passive(targetPort: number): Promise<number | undefined> {
    this.cancel();
    const { client, control } = this.#options;
    // Without data ports, or after a reload that removed them, the client gets a free port.
    if (control?.hasPorts !== true) {
      const connect = (signal: AbortSignal): Promise<net.Socket> => this.#dial("upstream", targetPort, signal);
      return await this.#listen(client, { serve: (socket) => this.#serve(socket, "client", connect) });
    }
    const reservation = control.reserve(targetPort);
    this.#unused = reservation;
    return reservation?.listener;
  }

  async active(clientPort: number): Promise<FtpAddress | undefined> {
    this.cancel();
    const { upstream } = this.#options;
    const clientDial = new ClientDial((signal) => this.#dial("client", clientPort, signal));
    this.#clientDial = clientDial;
    const port = await this.#listen(upstream, {
      serve: (socket) => {
        this.#clientDial = undefined;
        return this.#serve(socket, "upstream", (signal) => clientDial.take(signal));
      },
      onUnused: () => {
        if (this.#clientDial === clientDial) this.#clientDial = undefined;
        clientDial.close();
      },
    });
    const ip = readIp(upstream.local);
    if (port === undefined || ip === undefined || this.#hasEnded) {
      this.#clientDial = undefined;
      return undefined;
    }
    const before = this.#reserved;
    this.#reserved = reserve(port);
    before?.[Symbol.dispose]();
    return { ip, port };
  }

  connectClient(): Promise<void> | undefined {
    const clientDial = this.#clientDial;
    return clientDial?.open().catch(() => {
      if (this.#clientDial === clientDial) this.cancel();
    });
  }

  disconnectClient(): void {
    this.#clientDial?.close();
  }

  cancel(): void {
    this.#unused?.[Symbol.dispose]();
    this.#unused = undefined;
  }

  /** Opens no more connections. Resolves when the open ones have ended. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    this.cancel();
    this.#reserved?.[Symbol.dispose]();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** @returns the port; undefined without a free slot or port */
  async #listen(
    { local, remote }: AddressPair,
    { serve, onUnused }: { readonly serve: (socket: net.Socket) => Promise<void>; readonly onUnused?: () => void },
  ): Promise<number | undefined> {
    const slot = this.#takeSlot();
    if (slot === undefined) return undefined;
    const listener = new DataListener({
      address: local,
      from: remote,
      onConnection: (socket) => this.#run(serve(socket).finally(() => slot[Symbol.dispose]())),
      onUnused: () => {
        slot[Symbol.dispose]();
        onUnused?.();
      },
    });
    this.#unused = listener;
    try {
      const port = await listener.open();
      if (!this.#hasEnded) return port;
    } catch {
      // No free port, or no such address: the client gets a reply with 425.
    }
    listener[Symbol.dispose]();
    return undefined;
  }

  #takeSlot(): Disposable | undefined {
    if (this.#hasEnded) return undefined;
    try {
      const { service, client, slots } = this.#options;
      return slots.take({ service, source: client.remote });
    } catch {
      return undefined;
    }
  }

  #run(transfer: Promise<void>): void {
    const running = transfer.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Connects to the other side, and relays. Never rejects. */
  async #serve(
    socket: net.Socket,
    side: "client" | "upstream",
    connect: (signal: AbortSignal) => Promise<net.Socket>,
  ): Promise<void> {
    const { meters, lost, relayer } = this.#options;
    const gone = new AbortController();
    // Reading into the bounded buffer detects a reset at once.
    socket.once("close", () => gone.abort(new Error("the data connection was closed"))).pause();
    socket.read(0);
    try {
      const other = await connect(AbortSignal.any([gone.signal, lost]));
      const sockets = side === "client" ? { client: socket, upstream: other } : { client: other, upstream: socket };
      await relayer.relay({ ...sockets, meters, lost });
    } catch {
      // A reset, because an end would look like the end of a file. The server's reply reports the failure.
      reset(socket);
    }
  }

  /** @throws the kernel's error, DeadlineError, or the reason of `signal` */
  async #dial(side: "client" | "upstream", port: number, signal: AbortSignal): Promise<net.Socket> {
    const { lost, onFailure, [side]: pair } = this.#options;
    const anyEnd = AbortSignal.any([signal, lost]);
    try {
      return await dial({ host: pair.remote, port, localAddress: pair.local, timeoutMs: DIAL_MS, signal: anyEnd });
    } catch (error) {
      if (!anyEnd.aborted) onFailure(side, error);
      throw error;
    }
  }
}

/** @returns undefined if the socket is closed */
export function addressPairOf({ localAddress, remoteAddress }: net.Socket): AddressPair | undefined {
  const [local, remote] = [withoutMapping(localAddress), withoutMapping(remoteAddress)];
  return local === undefined || remote === undefined ? undefined : { local, remote };
}

/** Converts the IPv4-mapped address of a dual-stack listener to IPv4. Keeps an IPv6 zone. */
function withoutMapping(address: string | undefined): string | undefined {
  const ip = readIp(address ?? "");
  return ip?.family === "ipv4" ? formatIp(ip) : address;
}
