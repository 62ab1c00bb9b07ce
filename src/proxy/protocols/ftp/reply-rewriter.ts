import type { GreetingText } from "../greeting.ts";
import { type ControlSession, lineOf, NO_DATA_CONNECTION } from "./control-session.ts";
import { type FoundAddress, findEpsv, findPasv, writePort } from "./endpoints.ts";
import type { Write } from "./line-filter.ts";
import type { Piece } from "./lines.ts";
import { OTHER, type PendingCommand } from "./pending-commands.ts";
import { Replies } from "./replies.ts";

/** Codes of a server that executes no command. They pass also as replies to rejected commands. */
const UNAVAILABLE: ReadonlySet<number> = new Set([421, 530]);

/** Replaces the addresses in a server's replies, and the replies to rejected commands. */
export class ReplyRewriter {
  readonly #session: ControlSession;
  readonly #replies = new Replies();
  /** Whether a line of the server's greeting was read. */
  #hasSent = false;
  /** Whether the server's greeting is complete. */
  #hasGreeted = false;

  constructor(session: ControlSession) {
    this.#session = session;
  }

  read({ bytes, place }: Piece, write: Write): Promise<void> | undefined {
    if (place === "middle" || place === "end") return void write(bytes);
    const text = bytes.toString("latin1");
    const { startedGreeting } = this.#session.options;
    if (!this.#hasSent && startedGreeting !== undefined && continueGreeting(text, startedGreeting, write))
      return undefined;
    this.#hasSent = true;
    const reply = this.#replies.read(text);
    if (reply === undefined || reply.code < 200) return void write(bytes);
    const command = this.#commandOf(reply.code);
    if (reply.isOneLine && place === "whole") {
      if (command.reply !== undefined && !UNAVAILABLE.has(reply.code)) return void write(lineOf(command.reply));
      if (reply.code === 227) return this.#replacePasv(findPasv(text), bytes, write);
      if (reply.code === 229 && command.kind === "epsv_for_pasv") {
        return this.#replacePasv(asPasv(findEpsv(text)), lineOf(NO_DATA_CONNECTION), write);
      }
      if (reply.code === 229) return this.#replacePort(findEpsv(text), bytes, String, write);
    }
    write(bytes);
    this.#onReply(command.kind, reply.code);
    return undefined;
  }

  /** Handles the end of the server's stream. A server that ends without a greeting has rejected the client. */
  end(write: Write): void {
    const { startedGreeting } = this.#session.options;
    if (startedGreeting !== undefined && !this.#hasSent) {
      write(Buffer.from(startedGreeting.end + startedGreeting.rejection));
    }
    this.#session.endAuthWait();
  }

  #commandOf(code: number): PendingCommand {
    if (this.#hasGreeted) return this.#session.pending.take(code);
    this.#hasGreeted = true;
    return OTHER;
  }

  #onReply(kind: PendingCommand["kind"], code: number): void {
    const { dataConnections } = this.#session.options;
    const isPositive = code < 300;
    if (kind === "epsv_all") this.#session.isEpsvAll = isPositive;
    if (kind === "active" && !isPositive) dataConnections.cancel();
    if (kind === "transfer" && code >= 400) dataConnections.disconnectClient();
    if (code === 234) this.#session.encrypt();
    if (kind === "auth") this.#session.endAuthWait();
  }

  #replacePasv(found: FoundAddress | undefined, otherwise: Buffer, write: Write): Promise<void> | undefined {
    const { publicAddress: ip } = this.#session.options;
    if (ip === undefined) return void write(lineOf(NO_DATA_CONNECTION));
    return this.#replacePort(found, otherwise, (port) => writePort({ ip, port }), write);
  }

  /** @param otherwise written if the reply contains no port */
  #replacePort(
    found: FoundAddress | undefined,
    otherwise: Buffer,
    format: (port: number) => string,
    write: Write,
  ): Promise<void> | undefined {
    if (found === undefined) return void write(otherwise);
    const { port: targetPort, before, after } = found;
    return this.#session.options.dataConnections.passive(targetPort).then((port) => {
      const isOpen = port !== undefined;
      write(isOpen ? Buffer.from(`${before}${format(port)}${after}`, "latin1") : lineOf(NO_DATA_CONNECTION));
    });
  }
}

/**
 * Makes the server's first reply continue a started greeting. Both need the same code, because a client finds the end of a
 * reply by it (RFC 959, 4.2). A reply with another code follows the end of the greeting.
 *
 * @returns whether the line was written
 */
function continueGreeting(text: string, { end }: GreetingText, write: Write): boolean {
  const [, code] = /^(\d{3})[ \r\n-]/.exec(text) ?? [];
  if (code === "220") return false;
  if (code === undefined || code.startsWith("1")) {
    // 120: "ready in five minutes", and later a greeting.
    write(Buffer.from(code === undefined ? text : `220-${text.slice(4)}`, "latin1"));
    return true;
  }
  write(Buffer.from(end));
  return false;
}

function asPasv(found: FoundAddress | undefined): FoundAddress | undefined {
  return found && { port: found.port, before: "227 Entering Passive Mode (", after: ").\r\n" };
}
