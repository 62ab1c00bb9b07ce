/**
 * Follows what a client and a server of FTP say on their control connection, and changes what names an address or a
 * port, so that data connections lead by way of wakeport (RFC 959, 1639, 2428, 4217).
 *
 * Nothing is ever said out of turn: each command is answered by the server, in order. What is not to be is sent in a
 * form that it cannot accept, and what it says to that is put in our words in its place.
 */
import { formatIp, type Ip, type IpFamily } from "../../../net/ip.ts";
import type { GreetingLines } from "../greeting.ts";
import { isUrgent, readCommand, wholeCommand } from "./commands.ts";
import {
  eprtProtocol,
  type FoundAddress,
  type FtpAddress,
  findEpsv,
  findPasv,
  readEprt,
  readPort,
  writeEprt,
  writePort,
} from "./endpoints.ts";
import { LineFilter, type Write } from "./line-filter.ts";
import type { Piece } from "./lines.ts";
import { Replies } from "./replies.ts";

/** Ways for data that lead by way of wakeport. */
export interface DataConnectionOpener {
  /** For the client to a port of the server. @returns the port to tell the client; undefined when there is none */
  passive(targetPort: number): Promise<number | undefined>;
  /** For the server to a port of the client. @returns where the server gets to it; undefined when there is none */
  active(clientPort: number): Promise<FtpAddress | undefined>;
  /**
   * Called before a transfer: connects to the client's port in active mode. If that fails, the server is refused. Never
   * rejects; undefined if there is nothing to wait for.
   */
  reach(): Promise<void> | undefined;
  /** Called if the server refused the transfer: closes the connection to the client. */
  release(): void;
  /** Closes the one that was opened last, if nobody has come by it. */
  forget(): void;
}

export interface ControlChannelOptions {
  readonly ways: DataConnectionOpener;
  /** Whose connection it is: data goes to it alone. */
  readonly client: Ip;
  /** Whether that is a proxy, to which no data connection is made: by its address anybody's services might be reached. */
  readonly isProxied: boolean;
  /** What 227 tells, an IPv4 address; undefined for a client that cannot be told one. */
  readonly told: Ip | undefined;
  /** Over which protocol the server is spoken to. */
  readonly upstream: IpFamily;
  /** Of the greeting that the client was told the beginning of, of which the server's is the rest. */
  readonly begun?: GreetingLines;
  /** What is said is encrypted from now on. */
  readonly onAside: () => void;
  /** The client named somebody else's address, or a port that none of its own programs has. */
  readonly onBounce: (endpoint: FtpAddress | undefined) => void;
}

/** A command whose reply is to come. */
interface PendingCommand {
  readonly kind: "other" | "auth" | "pasv" | "epsv" | "epsv_for_pasv" | "epsv_all" | "active" | "transfer" | "refused";
  /** What takes the place of the reply to one that is refused. */
  readonly words?: string;
}

const OTHER: PendingCommand = { kind: "other" };
/** Of a client that goes on asking unanswered, no more are known. */
const MAX_PENDING_COMMANDS = 1_000;
/** How long what follows an AUTH waits for the reply, which servers know at once. */
const AUTH_MS = 60_000;
/** Lower ports belong to services of the system and are not allowed for data connections (RFC 2577, 3). */
const MIN_PORT = 1_024;

/** Which commands a positive reply of that code can be for. */
const answeredBy: Readonly<Record<number, readonly PendingCommand["kind"][]>> = {
  227: ["pasv", "refused"],
  229: ["epsv", "epsv_for_pasv", "refused"],
  234: ["auth"],
};
/** A server that is busy with something else says so, whatever it was asked. */
const UNREFUSED: ReadonlySet<number> = new Set([421, 530]);

/** Commands that use a data connection (RFC 959, 4.1.3; RFC 3659, 7). */
const TRANSFER_VERBS: ReadonlySet<string> = new Set(["RETR", "STOR", "STOU", "APPE", "LIST", "NLST", "MLSD"]);

/** Those that name an address for the server to dial. */
const ACTIVE_VERBS: ReadonlySet<string> = new Set(["PORT", "EPRT", "LPRT"]);

const REPLY_425 = "425 No data connection can be had now.";
const EPSV_ALONE = "503 After EPSV ALL there is only EPSV.";

export class ControlChannel implements Disposable {
  readonly #options: ControlChannelOptions;
  readonly #replies = new Replies();
  readonly #asked: PendingCommand[] = [];
  readonly #in: LineFilter;
  readonly #out: LineFilter;
  #isGreeted = false;
  #hasSpoken = false;
  #isAside = false;
  #isEpsvAll = false;
  #hasAskedAuth = false;
  /** Whether what is left of a long command is left out. */
  #isSwallowing = false;
  /** What waits for the reply to an AUTH. */
  #goOn: (() => void) | undefined;

  constructor(options: ControlChannelOptions) {
    this.#options = options;
    const isEncrypted = (): boolean => this.#isAside;
    this.#in = new LineFilter({
      isEncrypted,
      isWhole: isUrgent,
      read: (piece, say) => this.#readCommand(piece, say),
      readRest: (piece, say) => this.#readRest(piece, say),
    });
    this.#out = new LineFilter({
      isEncrypted,
      read: (piece, say) => this.#readReply(piece, say),
      onEnd: (say) => this.#end(say),
    });
  }

  get filters(): { readonly in: LineFilter; readonly out: LineFilter } {
    return { in: this.#in, out: this.#out };
  }

  [Symbol.dispose](): void {
    this.#goOn?.();
  }

  #readCommand({ bytes: received, place }: Piece, say: Write): Promise<void> | undefined {
    if (place === "middle" || place === "end") return void this.#readLong(received, place, say);
    const bytes = place === "whole" ? wholeCommand(received) : received;
    const line = bytes.toString("latin1");
    const { verb, argument } = readCommand(line);
    switch (verb) {
      case "PORT":
      case "EPRT":
      case "LPRT":
        this.#isSwallowing = place === "start";
        return this.#readActive(verb, place === "start" ? undefined : argument, say);
      case "LPSV":
        this.#ask({ kind: "refused", words: "502 Use EPSV." });
        break;
      case "PASV":
        return this.#readPasv(bytes, say);
      case "EPSV":
        return this.#readEpsv(bytes, argument ?? "", say);
      case "AUTH":
        this.#ask({ kind: "auth" });
        this.#hasAskedAuth = true;
        say(bytes);
        return this.#reply();
      case "":
        // Some servers answer to nothing, and some do not: see #answered.
        break;
      default:
        if (TRANSFER_VERBS.has(verb)) return this.#readTransfer(bytes, say);
        this.#ask(OTHER);
    }
    say(bytes);
    return undefined;
  }

  #readLong(bytes: Buffer, place: "middle" | "end", say: Write): void {
    if (!this.#isSwallowing) say(bytes);
    if (place === "end") this.#isSwallowing = false;
  }

  /** Of a client that is gone: what names an address leads nowhere any more, and must not reach the server unread. */
  #readRest({ bytes, place }: Piece, say: Write): void {
    if (place === "middle" || place === "end") return this.#readLong(bytes, place, say);
    const isActive = ACTIVE_VERBS.has(readCommand(bytes.toString("latin1")).verb);
    if (!isActive) say(bytes);
    else if (place === "start") this.#isSwallowing = true;
  }

  #readPasv(bytes: Buffer, say: Write): undefined {
    const { told, upstream } = this.#options;
    const isHad = told !== undefined && !this.#isEpsvAll;
    if (this.#isEpsvAll) this.#ask({ kind: "refused", words: EPSV_ALONE });
    else if (!isHad) this.#ask({ kind: "refused", words: "425 PASV cannot be used here: use EPSV." });
    else this.#ask({ kind: upstream === "ipv4" ? "pasv" : "epsv_for_pasv" });
    say(isHad && upstream === "ipv6" ? Buffer.from("EPSV\r\n") : bytes);
  }

  /** RFC 2428, 3: the argument is the number of a protocol, or ALL. */
  #readEpsv(bytes: Buffer, argument: string, say: Write): undefined {
    const { client, upstream } = this.#options;
    const asked = argument.trim().toUpperCase();
    const own = protocolOf(client);
    if (asked === "ALL") {
      this.#ask({ kind: "epsv_all" });
      // At once: the client may send a PASV before it reads the reply.
      this.#isEpsvAll = true;
    } else if (asked === "" || asked === own) this.#ask({ kind: "epsv" });
    else this.#ask({ kind: "refused", words: /^\d+$/.test(asked) ? unsupported(own) : syntaxError("EPSV") });
    say(asked === own && upstream !== client.family ? Buffer.from("EPSV\r\n") : bytes);
  }

  async #readActive(verb: "PORT" | "EPRT" | "LPRT", argument: string | undefined, say: Write): Promise<void> {
    const { client, isProxied, ways, onBounce, upstream } = this.#options;
    const refuse = (words: string): void => {
      this.#ask({ kind: "refused", words });
      // Without its argument no server accepts it.
      say(Buffer.from(`${verb}\r\n`));
    };
    if (verb === "LPRT") return refuse("502 Use EPRT.");
    if (this.#isEpsvAll) return refuse(EPSV_ALONE);
    if (isProxied) return refuse(`502 ${verb} cannot be used here: use EPSV or PASV.`);
    const asked = argument === undefined ? undefined : (verb === "PORT" ? readPort : readEprt)(argument);
    const isOwn = asked !== undefined && formatIp(asked.ip) === formatIp(client);
    if (argument !== undefined && !isOwn && verb === "EPRT") {
      const [named, own] = [eprtProtocol(argument), protocolOf(client)];
      if (named !== undefined && named !== own) return refuse(unsupported(own));
    }
    if (argument !== undefined && asked === undefined) return refuse(syntaxError(verb));
    if (asked === undefined || !isOwn || asked.port < MIN_PORT) {
      onBounce(asked);
      return refuse(isOwn ? `504 ${verb} is not allowed for ports below ${MIN_PORT}.` : `500 Illegal ${verb} command.`);
    }
    const near = await ways.active(asked.port);
    if (near === undefined) return refuse(REPLY_425);
    this.#ask({ kind: "active" });
    const isPort = verb === "PORT" && upstream === "ipv4";
    say(Buffer.from(isPort ? `PORT ${writePort(near)}\r\n` : `EPRT ${writeEprt(near)}\r\n`));
  }

  /** Forwards the command after the client was reached. Otherwise the server could announce data that cannot arrive. */
  #readTransfer(bytes: Buffer, say: Write): Promise<void> | undefined {
    this.#ask({ kind: "transfer" });
    const reached = this.#options.ways.reach();
    if (reached === undefined) return void say(bytes);
    return reached.then(() => say(bytes));
  }

  #ask(asked: PendingCommand): void {
    if (this.#asked.length >= MAX_PENDING_COMMANDS) this.#asked.shift();
    this.#asked.push(asked);
  }

  /** Until there is a reply to an AUTH: what follows may be said in another language. */
  #reply(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, AUTH_MS);
    this.#goOn = resolve;
    return promise.finally(() => {
      clearTimeout(timer);
      this.#goOn = undefined;
    });
  }

  #readReply({ bytes, place }: Piece, say: Write): Promise<void> | undefined {
    if (place === "middle" || place === "end") return void say(bytes);
    const text = bytes.toString("latin1");
    const { begun } = this.#options;
    if (!this.#hasSpoken && begun !== undefined && this.#splice(text, begun, say)) return undefined;
    this.#hasSpoken = true;
    const reply = this.#replies.read(text);
    if (reply === undefined || reply.code < 200) return void say(bytes);
    const { kind, words } = this.#answered(reply.code);
    if (reply.isOneLine && place === "whole") {
      if (words !== undefined && !UNREFUSED.has(reply.code)) return void say(line(words));
      if (reply.code === 227) return this.#tellPasv(findPasv(text), bytes, say);
      if (reply.code === 229 && kind === "epsv_for_pasv")
        return this.#tellPasv(pasvOf(findEpsv(text)), line(REPLY_425), say);
      if (reply.code === 229) return this.#tell(findEpsv(text), bytes, String, say);
    }
    say(bytes);
    this.#note(kind, reply.code);
    return undefined;
  }

  /** The command that is answered with that code. */
  #answered(code: number): PendingCommand {
    if (!this.#isGreeted) {
      this.#isGreeted = true;
      return OTHER;
    }
    if (!isForRefused(code)) while (this.#asked[0]?.kind === "refused") this.#asked.shift();
    // Whoever answers more, or less, than was asked is understood again at the next reply that can be for one thing only.
    const kinds = answeredBy[code];
    const index = kinds === undefined ? 0 : this.#asked.findIndex(({ kind }) => kinds.includes(kind));
    return this.#asked.splice(0, Math.max(0, index) + 1).at(-1) ?? OTHER;
  }

  #note(kind: PendingCommand["kind"], code: number): void {
    const isPositive = code < 300;
    if (kind === "epsv_all") this.#isEpsvAll = isPositive;
    if (kind === "active" && !isPositive) this.#options.ways.forget();
    if (kind === "transfer" && code >= 400) this.#options.ways.release();
    if (code === 234 && this.#hasAskedAuth) {
      this.#isAside = true;
      this.#options.ways.forget();
      this.#options.onAside();
    }
    if (kind === "auth" || this.#isAside) this.#goOn?.();
  }

  #tellPasv(found: FoundAddress | undefined, otherwise: Buffer, say: Write): Promise<void> | undefined {
    const { told: ip } = this.#options;
    if (ip === undefined) return void say(line(REPLY_425));
    return this.#tell(found, otherwise, (port) => writePort({ ip, port }), say);
  }

  /** @param otherwise what is said where the server has told no port */
  #tell(
    found: FoundAddress | undefined,
    otherwise: Buffer,
    write: (port: number) => string,
    say: Write,
  ): Promise<void> | undefined {
    if (found === undefined) return void say(otherwise);
    const { port, before, after } = found;
    return this.#options.ways.passive(port).then((near) => {
      say(near === undefined ? line(REPLY_425) : Buffer.from(`${before}${write(near)}${after}`, "latin1"));
    });
  }

  /**
   * Makes the server's greeting the end of the one that was begun. Both have the same code, or the client would not find
   * the end (RFC 959, 4.2): what is none of 220 is said after it.
   *
   * @returns whether nothing is left to say of this line
   */
  #splice(text: string, { end }: GreetingLines, say: Write): boolean {
    const [, code] = /^(\d{3})[ \r\n-]/.exec(text) ?? [];
    if (code === "220") return false;
    if (code === undefined || code.startsWith("1")) {
      // "Ready in five minutes", and then a greeting.
      say(Buffer.from(code === undefined ? text : `220-${text.slice(4)}`, "latin1"));
      return true;
    }
    say(Buffer.from(end));
    return false;
  }

  #end(say: Write): void {
    const { begun } = this.#options;
    if (begun !== undefined && !this.#hasSpoken) say(Buffer.from(begun.end + begun.refusal));
    this.#goOn?.();
  }
}

/** Whether it can be what a server says to one that is refused. By another reply it has come to what was asked next. */
function isForRefused(code: number): boolean {
  return code >= 400 || code === 200 || (code >= 227 && code <= 229);
}

/** Number of the client's network protocol (RFC 2428, 2). */
function protocolOf({ family }: Ip): "1" | "2" {
  return family === "ipv4" ? "1" : "2";
}

function unsupported(own: string): string {
  return `522 Network protocol not supported, use (${own})`;
}

function syntaxError(verb: string): string {
  return `501 Syntax error in the argument of ${verb}.`;
}

function pasvOf(found: FoundAddress | undefined): FoundAddress | undefined {
  return found && { port: found.port, before: "227 Entering Passive Mode (", after: ").\r\n" };
}

function line(words: string): Buffer {
  return Buffer.from(`${words}\r\n`);
}
