/**
 * The greeting of a server that has the first word, begun before it is there: a reply may have many lines, and all but the
 * last have a dash behind their code (RFC 5321 4.2.1 for SMTP, RFC 959 4.2 for FTP). The real greeting has the same code
 * and simply goes on, with one line or more.
 */
import type net from "node:net";
import type { Filter } from "../../net/pump.ts";

/** Of a greeting that welcomes. */
const WELCOME = /^220[- \r\n]/;
const WELCOME_LENGTH = 4;
/** Who is served sooner than this never hears of it. */
const FIRST_MS = 1_000;
/** Well below what clients wait for a line, and seldom enough for those that have little room for a reply. */
const EVERY_MS = 10_000;

/** Whose greeting is begun. One that waits on, for what its service has become, has it begun still. */
const begun = new WeakSet<net.Socket>();

export interface GreetingLines {
  /** A line that others follow: `220-…`. */
  wait(): string;
  /** A last line: `220 …`. */
  readonly end: string;
  /** What a client is told that will not be served: `421 …`. */
  readonly refusal: string;
}

export interface GreetingPace {
  /** From the arrival of a client to its first line, in milliseconds. */
  readonly firstMs: number;
  /** Between its lines. */
  readonly everyMs: number;
}

/** Tells one client to wait, line by line, until it is disposed of. */
export class Greeting implements Disposable {
  readonly #socket: net.Socket;
  readonly #words: GreetingLines;
  readonly #everyMs: number;
  #timer: NodeJS.Timeout;

  constructor(
    socket: net.Socket,
    words: GreetingLines,
    { firstMs, everyMs }: GreetingPace = { firstMs: FIRST_MS, everyMs: EVERY_MS },
  ) {
    this.#socket = socket;
    this.#words = words;
    this.#everyMs = everyMs;
    this.#timer = setTimeout(() => this.#say(), firstMs);
  }

  /** To be passed what the server says, in order to join it to what the client has heard; undefined: there is no need. */
  get splice(): Splice | undefined {
    return begun.has(this.#socket) ? new Splice(this.#words) : undefined;
  }

  /** What is left to say when the server will not say anything. */
  get rejectionReply(): Buffer {
    const { end, refusal } = this.#words;
    return Buffer.from(begun.has(this.#socket) ? end + refusal : refusal);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #say(): void {
    this.#timer = setTimeout(() => this.#say(), this.#everyMs);
    // Whoever does not read has lines enough to read.
    if (!this.#socket.writable || this.#socket.writableLength > 0) return;
    begun.add(this.#socket);
    this.#socket.write(this.#words.wait());
  }
}

/**
 * Joins what the server says to a greeting that was begun. Another code than the begun one cannot end it, though some
 * clients would take it: so that comes as the answer to what the client says next.
 */
export class Splice implements Filter {
  readonly #words: GreetingLines;
  /** What the server has said so far; undefined: enough. */
  #start: Buffer | undefined = Buffer.alloc(0);

  constructor(words: GreetingLines) {
    this.#words = words;
  }

  /** Passes on what was received. */
  take(chunk: Buffer, write: (bytes: Buffer) => void): undefined {
    if (this.#start === undefined) return void write(chunk);
    const start = this.#start.length === 0 ? chunk : Buffer.concat([this.#start, chunk]);
    this.#start = start;
    if (start.length < WELCOME_LENGTH) return;
    this.#start = undefined;
    if (!WELCOME.test(start.toString("latin1", 0, WELCOME_LENGTH))) write(Buffer.from(this.#words.end));
    write(start);
  }

  /** Nothing more comes. A server that ended without a word has refused the client. */
  end(last: Buffer, write: (bytes: Buffer) => void): void {
    if (last.length > 0) this.take(last, write);
    if (this.#start === undefined) return;
    const { end, refusal } = this.#words;
    write(this.#start.length === 0 ? Buffer.from(end + refusal) : Buffer.concat([Buffer.from(end), this.#start]));
    this.#start = undefined;
  }
}
