/**
 * Reads the server name (SNI) in a TLS ClientHello, without changing or decrypting anything. With an encrypted
 * ClientHello (ECH) it is the outer name: only the server can read the inner one.
 *
 * @see RFC 8446, sections 4.1.2 and 5.1 (TLS 1.3), RFC 5246, sections 6.2.1 and 7.4.1.2 (TLS 1.2), RFC 6066, section 3
 */
import { readName } from "../../net/hostname.ts";

/** The bytes are not a valid ClientHello. */
export class ClientHelloError extends Error {
  override readonly name = "ClientHelloError";
  /** Whether the client uses TLS. */
  readonly isTls: boolean;

  constructor(message: string, isTls = true) {
    super(message);
    this.isTls = isTls;
  }
}

export interface ClientHello {
  /** A result of `readName`; absent if the ClientHello contains no server name. */
  readonly serverName?: string;
}

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const MAX_RECORD = 2 ** 14;
const SERVER_NAME = 0;
const HOST_NAME = 0;

/** Length of a record header: type, version, length. */
const RECORD_HEAD = 5;
/** Length of a message header: type, length. */
const MESSAGE_HEAD = 4;

/**
 * Reads one ClientHello that arrives in pieces. A ClientHello can have thousands of small records, so each is read once,
 * and they are joined once, when all have arrived.
 */
export class ClientHelloReader {
  /** Start of the first incomplete record. */
  #record = 0;
  /** Bytes of the message in the complete records. */
  #length = 0;
  /** Header of the message. */
  readonly #head: number[] = [];

  /**
   * @param bytes all bytes that have arrived so far
   * @returns undefined while the end of the message is missing
   * @throws ClientHelloError
   */
  read(bytes: Buffer): ClientHello | undefined {
    while (this.#record < bytes.length) {
      checkRecord(bytes, this.#record);
      const start = this.#record + RECORD_HEAD;
      if (bytes.length < start) return undefined;
      const size = bytes.readUInt16BE(start - 2);
      if (size === 0 || size > MAX_RECORD) throw new ClientHelloError("a TLS record has an invalid length");
      const fragment = bytes.subarray(start, start + size);
      this.#readHead(fragment);
      const end = this.#end;
      if (end !== undefined && this.#length + fragment.length >= end) return helloOf(new Reader(messageIn(bytes, end)));
      if (fragment.length < size) return undefined;
      this.#length += size;
      this.#record = start + size;
    }
    return undefined;
  }

  #readHead(fragment: Buffer): void {
    while (this.#head.length < MESSAGE_HEAD) {
      const next = fragment[this.#head.length - this.#length];
      if (next === undefined) return;
      this.#head.push(next);
      if (this.#head[0] !== CLIENT_HELLO) throw new ClientHelloError("the first TLS message is not a ClientHello");
    }
  }

  /** Length of the message with its header. */
  get #end(): number | undefined {
    const [kind, high, middle, low] = this.#head;
    if (kind === undefined || high === undefined || middle === undefined || low === undefined) return undefined;
    return MESSAGE_HEAD + (high << 16) + (middle << 8) + low;
  }
}

/** Returns the content of the message, which starts in the first record and ends at `end`. */
function messageIn(bytes: Buffer, end: number): Buffer {
  const fragments: Buffer[] = [];
  for (let [at, length] = [0, 0]; length < end; ) {
    const start = at + RECORD_HEAD;
    const fragment = bytes.subarray(start, start + bytes.readUInt16BE(start - 2));
    fragments.push(fragment);
    length += fragment.length;
    at = start + fragment.length;
  }
  return Buffer.concat(fragments).subarray(MESSAGE_HEAD, end);
}

/** Checks the received part of a record's type and version. */
function checkRecord(bytes: Buffer, at: number): void {
  const isTls = at > 0;
  if (bytes[at] !== HANDSHAKE) throw new ClientHelloError("not a TLS handshake record", isTls);
  const major = bytes[at + 1];
  if (major !== undefined && major !== 3) throw new ClientHelloError("unknown TLS version", isTls);
}

function helloOf(hello: Reader): ClientHello {
  hello.take(2 + 32); // legacy version, random
  hello.vector(1); // session id
  hello.vector(2); // cipher suites
  hello.vector(1); // compression methods
  if (hello.isAtEnd) return {};
  const extensions = new Reader(hello.vector(2));
  hello.checkEnd();
  let found: ClientHello | undefined;
  while (!extensions.isAtEnd) {
    const type = extensions.number(2);
    const content = extensions.vector(2);
    if (type !== SERVER_NAME) continue;
    if (found !== undefined) throw new ClientHelloError("the ClientHello contains the server name extension twice");
    found = { serverName: serverNameOf(new Reader(content)) };
  }
  return found ?? {};
}

function serverNameOf(content: Reader): string {
  const list = new Reader(content.vector(2));
  content.checkEnd();
  const type = list.number(1);
  const text = list.vector(2).toString("latin1");
  list.checkEnd();
  const name = type === HOST_NAME ? readName(text) : undefined;
  if (name === undefined) throw new ClientHelloError("the server name in the ClientHello is not a valid host name");
  return name;
}

/** Reads the fields of a message. Throws if a field is longer than the message. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new ClientHelloError("the ClientHello is shorter than its length field");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(bytes: number): number {
    return this.take(bytes).readUIntBE(0, bytes);
  }

  /** Reads a field that follows its own length. */
  vector(lengthBytes: number): Buffer {
    return this.take(this.number(lengthBytes));
  }

  checkEnd(): void {
    if (!this.isAtEnd) throw new ClientHelloError("the ClientHello is longer than its length field");
  }
}
