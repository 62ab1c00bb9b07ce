import { formatIp, type Ip } from "../../../net/ip.ts";
import { ACTIVE_VERBS, readCommand } from "./commands.ts";
import { type ControlSession, lineOf, NO_DATA_CONNECTION } from "./control-session.ts";
import { eprtProtocol, readEprt, readPort, writeEprt, writePort } from "./endpoints.ts";
import type { Write } from "./line-filter.ts";
import type { Piece } from "./lines.ts";
import { OTHER, type PendingCommand } from "./pending-commands.ts";

/** Lower ports belong to services of the system and are not allowed for data connections (RFC 2577, 3). */
const MIN_PORT = 1_024;
/** Commands that use a data connection (RFC 959, 4.1.3; RFC 3659, 7). */
const TRANSFER_VERBS: ReadonlySet<string> = new Set(["RETR", "STOR", "STOU", "APPE", "LIST", "NLST", "MLSD"]);
const ONLY_EPSV = "503 Only EPSV is allowed after EPSV ALL.";

/**
 * Replaces the addresses in a client's commands. A rejected command is sent in a form that no server accepts, and its reply
 * is replaced, so that replies stay in order.
 */
export class CommandRewriter {
  readonly #session: ControlSession;
  /** Whether the rest of a long command is dropped. */
  #isDroppingLine = false;

  constructor(session: ControlSession) {
    this.#session = session;
  }

  read({ bytes, place }: Piece, write: Write): Promise<void> | undefined {
    if (place === "middle" || place === "end") return void this.#readLongLine(bytes, place, write);
    const { verb, argument } = readCommand(bytes.toString("latin1"));
    switch (verb) {
      case "PORT":
      case "EPRT":
      case "LPRT":
        this.#isDroppingLine = place === "start";
        return this.#readActive(verb, place === "start" ? undefined : argument, write);
      case "LPSV":
        this.#add({ kind: "rejected", reply: "502 Use EPSV." });
        break;
      case "PASV":
        return this.#readPasv(bytes, write);
      case "EPSV":
        return this.#readEpsv(bytes, argument ?? "", write);
      case "AUTH":
        this.#add({ kind: "auth" });
        write(bytes);
        return this.#session.waitForAuthReply();
      case "":
        // Some servers reply to an empty line, and some do not: see PendingCommands.take().
        break;
      default:
        if (TRANSFER_VERBS.has(verb)) return this.#readTransfer(bytes, write);
        this.#add(OTHER);
    }
    write(bytes);
    return undefined;
  }

  /** Reads a command of a client that has gone. Addresses must not reach the server, because nothing listens for it. */
  readRest({ bytes, place }: Piece, write: Write): void {
    if (place === "middle" || place === "end") return this.#readLongLine(bytes, place, write);
    const isActive = ACTIVE_VERBS.has(readCommand(bytes.toString("latin1")).verb);
    if (!isActive) write(bytes);
    else if (place === "start") this.#isDroppingLine = true;
  }

  #readLongLine(bytes: Buffer, place: "middle" | "end", write: Write): void {
    if (!this.#isDroppingLine) write(bytes);
    if (place === "end") this.#isDroppingLine = false;
  }

  #readPasv(bytes: Buffer, write: Write): undefined {
    const { publicAddress, upstream } = this.#session.options;
    const isAllowed = publicAddress !== undefined && !this.#session.isEpsvAll;
    if (this.#session.isEpsvAll) this.#add({ kind: "rejected", reply: ONLY_EPSV });
    else if (!isAllowed) this.#add({ kind: "rejected", reply: "425 PASV cannot be used here: use EPSV." });
    else this.#add({ kind: upstream === "ipv4" ? "pasv" : "epsv_for_pasv" });
    write(isAllowed && upstream === "ipv6" ? lineOf("EPSV") : bytes);
  }

  /** RFC 2428, 3: the argument is the number of a network protocol, or ALL. */
  #readEpsv(bytes: Buffer, argument: string, write: Write): undefined {
    const { client, upstream } = this.#session.options;
    const requested = argument.trim().toUpperCase();
    const own = protocolOf(client);
    if (requested === "ALL") {
      this.#add({ kind: "epsv_all" });
      // Set before the reply, because the client may send a PASV before it reads the reply.
      this.#session.isEpsvAll = true;
    } else if (requested === "" || requested === own) this.#add({ kind: "epsv" });
    else {
      this.#add({ kind: "rejected", reply: /^\d+$/.test(requested) ? wrongProtocol(own) : syntaxError("EPSV") });
    }
    write(requested === own && upstream !== client.family ? lineOf("EPSV") : bytes);
  }

  async #readActive(verb: "PORT" | "EPRT" | "LPRT", argument: string | undefined, write: Write): Promise<void> {
    const { client, dataConnections, onBounce, upstream } = this.#session.options;
    const reject = (reply: string): void => {
      this.#add({ kind: "rejected", reply });
      // No server accepts the command without an argument.
      write(lineOf(verb));
    };
    const address = argument === undefined ? undefined : (verb === "PORT" ? readPort : readEprt)(argument);
    const isOwn = address !== undefined && formatIp(address.ip) === formatIp(client);
    const error = this.#errorOf(verb, argument, isOwn);
    if (error !== undefined) return reject(error);
    if (argument !== undefined && address === undefined) return reject(syntaxError(verb));
    if (address === undefined || !isOwn || address.port < MIN_PORT) {
      onBounce(address);
      return reject(isOwn ? `504 ${verb} is not allowed for ports below ${MIN_PORT}.` : `500 Illegal ${verb} command.`);
    }
    const listener = await dataConnections.active(address.port);
    if (listener === undefined) return reject(NO_DATA_CONNECTION);
    this.#add({ kind: "active" });
    write(
      lineOf(verb === "PORT" && upstream === "ipv4" ? `PORT ${writePort(listener)}` : `EPRT ${writeEprt(listener)}`),
    );
  }

  /** Returns the reply to a command that cannot be used here, whatever its address; otherwise undefined. */
  #errorOf(verb: "PORT" | "EPRT" | "LPRT", argument: string | undefined, isOwn: boolean): string | undefined {
    const { client, isProxied } = this.#session.options;
    if (verb === "LPRT") return "502 Use EPRT.";
    if (this.#session.isEpsvAll) return ONLY_EPSV;
    if (isProxied) return `502 ${verb} cannot be used here: use EPSV or PASV.`;
    const protocol = verb === "EPRT" && argument !== undefined && !isOwn ? eprtProtocol(argument) : undefined;
    const own = protocolOf(client);
    return protocol !== undefined && protocol !== own ? wrongProtocol(own) : undefined;
  }

  /** Forwards the command after the client was connected. Otherwise the server could announce data that cannot arrive. */
  #readTransfer(bytes: Buffer, write: Write): Promise<void> | undefined {
    this.#add({ kind: "transfer" });
    const connected = this.#session.options.dataConnections.connectClient();
    if (connected === undefined) return void write(bytes);
    return connected.then(() => write(bytes));
  }

  #add(command: PendingCommand): void {
    this.#session.pending.add(command);
  }
}

/** Number of the client's network protocol (RFC 2428, 2). */
function protocolOf({ family }: Ip): "1" | "2" {
  return family === "ipv4" ? "1" : "2";
}

function wrongProtocol(own: string): string {
  return `522 Network protocol not supported, use (${own})`;
}

function syntaxError(verb: string): string {
  return `501 Syntax error in the argument of ${verb}.`;
}
