import type { Ip, IpFamily } from "../../../net/ip.ts";
import type { GreetingText } from "../greeting.ts";
import type { FtpAddress } from "./endpoints.ts";
import { PendingCommands } from "./pending-commands.ts";

/** Opens data connections that pass through wakeport. */
export interface DataConnectionOpener {
  /** Listens for the client, and connects it to a port of the server. @returns the port; undefined if none is free */
  passive(targetPort: number): Promise<number | undefined>;
  /** Listens for the server, and connects it to a port of the client. @returns the address; undefined if none is free */
  active(clientPort: number): Promise<FtpAddress | undefined>;
  /**
   * Called before a transfer: connects to the client's port in active mode. If that fails, the server's connection is
   * refused. Never rejects; undefined if there is nothing to wait for.
   */
  connectClient(): Promise<void> | undefined;
  /** Called if the server rejected the transfer: closes the connection to the client. */
  disconnectClient(): void;
  /** Closes the listener that was opened last, if it is unused. */
  cancel(): void;
}

export interface ControlSessionOptions {
  readonly dataConnections: DataConnectionOpener;
  /** The client's address, which alone may use its data connections. */
  readonly client: Ip;
  /** Whether `client` is a proxy. Data connections to its address could reach services of other machines. */
  readonly isProxied: boolean;
  /** The IPv4 address for replies with 227; undefined if the client cannot use one. */
  readonly publicAddress: Ip | undefined;
  /** IP family of the connection to the server. */
  readonly upstream: IpFamily;
  /** Text of a greeting whose first lines were sent, and which the server's greeting continues. */
  readonly startedGreeting?: GreetingText;
  /** Called when the control connection becomes encrypted. */
  readonly onEncrypted: () => void;
  /** The client named an address that is not its own, or a port of the system. @param address undefined: malformed */
  readonly onBounce: (address: FtpAddress | undefined) => void;
}

/** Limit of the wait for the reply to AUTH, which servers send at once. */
const AUTH_MS = 60_000;

/** State of one control connection that both directions share. */
export class ControlSession {
  readonly options: ControlSessionOptions;
  readonly pending = new PendingCommands();
  isEpsvAll = false;
  #hasSentAuth = false;
  #isEncrypted = false;
  #onAuthReply: (() => void) | undefined;

  constructor(options: ControlSessionOptions) {
    this.options = options;
  }

  get isEncrypted(): boolean {
    return this.#isEncrypted;
  }

  /** Waits for the reply to an AUTH, because the bytes after the command may be encrypted. */
  waitForAuthReply(): Promise<void> {
    this.#hasSentAuth = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, AUTH_MS);
    this.#onAuthReply = resolve;
    return promise.finally(() => {
      clearTimeout(timer);
      this.#onAuthReply = undefined;
    });
  }

  /** Ends the wait for the reply to an AUTH. */
  endAuthWait(): void {
    this.#onAuthReply?.();
  }

  /** Handles a reply with 234: if an AUTH was sent, all further bytes are encrypted. */
  encrypt(): void {
    if (!this.#hasSentAuth) return;
    this.#isEncrypted = true;
    this.options.dataConnections.cancel();
    this.options.onEncrypted();
    this.endAuthWait();
  }
}

/** Reply to a client for which no data connection can be opened. */
export const NO_DATA_CONNECTION = "425 Cannot open a data connection now.";

export function lineOf(text: string): Buffer {
  return Buffer.from(`${text}\r\n`);
}
