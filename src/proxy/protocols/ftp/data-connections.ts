/** The data connections that belong to one control connection (RFC 959, 3.2), and the listeners that await them. */
import type net from "node:net";
import { dial } from "../../../net/dial.ts";
import { formatIp, readIp } from "../../../net/ip.ts";
import { relay } from "../../../net/relay.ts";
import { reset } from "../../../net/reset.ts";
import type { Slots } from "../../admission/slots.ts";
import type { HeldRelayOptions } from "../protocol.ts";
import { ClientDial } from "./client-dial.ts";
import type { DataConnectionOpener } from "./control-channel.ts";
import { DataListener, reserve } from "./data-listener.ts";
import type { FtpAddress } from "./endpoints.ts";

/** A client has one at a time; but what it is done with may still be on its way to a slow server. */
const MAX_AT_A_TIME = 8;
/** As for the control connection: the kernel tries again after 1 s and 3 s. */
const DIAL_MS = 10_000;

/** Both ends of one leg of the control connection: data goes the same way, or servers refuse it. */
export interface Leg {
  readonly here: string;
  readonly there: string;
}

export interface DataConnectionsOptions extends Pick<HeldRelayOptions, "meters" | "lost" | "control"> {
  readonly service: string;
  readonly client: Leg;
  readonly upstream: Leg;
  /** Of the whole process: a data connection needs as many descriptors as a client does. */
  readonly slots: Slots;
  /** A data connection to this side could not be opened. */
  readonly onFailure: (side: "client" | "upstream", error: unknown) => void;
}

export class DataConnections implements DataConnectionOpener {
  readonly #options: DataConnectionsOptions;
  readonly #running = new Set<Promise<void>>();
  /** What waits for its connection. */
  #awaited: Disposable | undefined;
  /** In active mode: the connection to the client's port, until the server connects. */
  #toClient: ClientDial | undefined;
  /** The port in the last PORT command to the server. */
  #reserved: Disposable | undefined;
  #isOver = false;

  constructor(options: DataConnectionsOptions) {
    this.#options = options;
  }

  async passive(targetPort: number): Promise<number | undefined> {
    this.forget();
    const { client, control } = this.#options;
    // Ports of the moment are also for whoever is still served when a reload has taken the others away.
    if (control?.hasPorts !== true) {
      const reach = (signal: AbortSignal): Promise<net.Socket> => this.#dial("upstream", targetPort, signal);
      return await this.#listen(client, { serve: (socket) => this.#serve(socket, "client", reach) });
    }
    const expected = control.reserve(targetPort);
    this.#awaited = expected;
    return expected?.listener;
  }

  async active(clientPort: number): Promise<FtpAddress | undefined> {
    this.forget();
    const { upstream } = this.#options;
    const toClient = new ClientDial((signal) => this.#dial("client", clientPort, signal));
    this.#toClient = toClient;
    const port = await this.#listen(upstream, {
      serve: (socket) => {
        this.#toClient = undefined;
        return this.#serve(socket, "upstream", (signal) => toClient.take(signal));
      },
      onUnused: () => {
        if (this.#toClient === toClient) this.#toClient = undefined;
        toClient.close();
      },
    });
    const ip = readIp(upstream.here);
    if (port === undefined || ip === undefined || this.#isOver) {
      this.#toClient = undefined;
      return undefined;
    }
    const before = this.#reserved;
    this.#reserved = reserve(port);
    before?.[Symbol.dispose]();
    return { ip, port };
  }

  reach(): Promise<void> | undefined {
    const toClient = this.#toClient;
    return toClient?.open().catch(() => {
      if (this.#toClient === toClient) this.forget();
    });
  }

  release(): void {
    this.#toClient?.close();
  }

  forget(): void {
    this.#awaited?.[Symbol.dispose]();
    this.#awaited = undefined;
  }

  /** Opens no more, and resolves when those that are open have ended. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.forget();
    this.#reserved?.[Symbol.dispose]();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** @returns the port; undefined when there can be none now */
  async #listen(
    { here, there }: Leg,
    { serve, onUnused }: { readonly serve: (socket: net.Socket) => Promise<void>; readonly onUnused?: () => void },
  ): Promise<number | undefined> {
    const slot = this.#slot();
    if (slot === undefined) return undefined;
    const listener = new DataListener({
      address: here,
      from: there,
      onConnection: (socket) => this.#run(serve(socket).finally(() => slot[Symbol.dispose]())),
      onUnused: () => {
        slot[Symbol.dispose]();
        onUnused?.();
      },
    });
    this.#awaited = listener;
    try {
      const port = await listener.open();
      if (!this.#isOver) return port;
    } catch {
      // No free port, no such address: the client is told that there is no data connection.
    }
    listener[Symbol.dispose]();
    return undefined;
  }

  #slot(): Disposable | undefined {
    if (this.#running.size >= MAX_AT_A_TIME || this.#isOver) return undefined;
    try {
      const { service, client, slots } = this.#options;
      return slots.take({ service, source: client.there });
    } catch {
      return undefined;
    }
  }

  #run(transfer: Promise<void>): void {
    const running = transfer.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Leads a data connection on to the other side. Never rejects. */
  async #serve(
    socket: net.Socket,
    side: "client" | "upstream",
    reach: (signal: AbortSignal) => Promise<net.Socket>,
  ): Promise<void> {
    const { meters, lost } = this.#options;
    const gone = new AbortController();
    // Read into a bounded buffer, so that a reset is seen at once.
    socket.once("close", () => gone.abort(new Error("the data connection was closed"))).pause();
    socket.read(0);
    try {
      const other = await reach(AbortSignal.any([gone.signal, lost]));
      const addresses = side === "client" ? { client: socket, upstream: other } : { client: other, upstream: socket };
      await relay({ ...addresses, meters, lost });
    } catch {
      // The side that waits must not take it for the end of a file; the server says the rest on the control connection.
      reset(socket);
    }
  }

  /** @throws the system's error, DeadlineError, or the reason of `signal` */
  async #dial(side: "client" | "upstream", port: number, signal: AbortSignal): Promise<net.Socket> {
    const { lost, onFailure, [side]: leg } = this.#options;
    const either = AbortSignal.any([signal, lost]);
    try {
      return await dial({ host: leg.there, port, localAddress: leg.here, timeoutMs: DIAL_MS, signal: either });
    } catch (error) {
      if (!either.aborted) onFailure(side, error);
      throw error;
    }
  }
}

/** @returns undefined for a socket that is closed already */
export function legOf({ localAddress, remoteAddress }: net.Socket): Leg | undefined {
  const [here, there] = [plain(localAddress), plain(remoteAddress)];
  return here === undefined || there === undefined ? undefined : { here, there };
}

/** An IPv4 client of a dual-stack listener is listened for at the IPv4 address; a zone is kept. */
function plain(address: string | undefined): string | undefined {
  const ip = readIp(address ?? "");
  return ip?.family === "ipv4" ? formatIp(ip) : address;
}
