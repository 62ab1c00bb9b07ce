/** Moves the bytes of a direction: few through a buffer, many through a pipe without a copy. */
import { endsWithTlsClose, startsWithTlsRecord, TLS_CLOSE_BYTES } from "../net/tls-close.ts";
import type { Direction } from "./pair.ts";
import { PIPE_BYTES, type PipePool } from "./pipe-pool.ts";
import { EAGAIN, type Syscalls } from "./syscalls.ts";

const BUFFER_BYTES = 64 * 1024;
/** A splice costs more than a copy of so few bytes. */
const MIN_SPLICE_BYTES = 16 * 1024;
/** Bytes that one direction may move before others get their turn. */
const BUDGET_BYTES = 4 * 1024 * 1024;

export class Pump {
  readonly #syscalls: Syscalls;
  readonly #pipes: PipePool;
  readonly #onReceived: (direction: Direction) => void;
  /** Shared by all directions, because each leaves it empty. */
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

  /** @param onReceived called after `received` of a direction has changed */
  constructor(syscalls: Syscalls, pipes: PipePool, onReceived: (direction: Direction) => void) {
    this.#syscalls = syscalls;
    this.#pipes = pipes;
    this.#onReceived = onReceived;
  }

  /**
   * Moves bytes until one side blocks, and passes the end of the stream on.
   *
   * @returns whether it stopped earlier, because the direction has used its share of the time
   */
  run(direction: Direction): boolean {
    const limit = direction.received + BUDGET_BYTES;
    while (this.#move(direction)) if (direction.received >= limit) return true;
    if (direction.to.isBroken) this.drop(direction);
    else if (direction.inPipe === 0) this.#returnPipe(direction);
    if (direction.isComplete) this.#passEndOn(direction);
    return false;
  }

  /** Receives and drops bytes. @returns their number */
  discard(direction: Direction): number {
    let dropped = 0;
    for (;;) {
      const length = this.#receive(direction);
      if (length <= 0) return dropped;
      dropped += length;
    }
  }

  /** Drops what the direction holds; nothing more is received. */
  drop(direction: Direction): void {
    if (!direction.isEmpty) direction.endsWithTlsClose = false;
    direction.rest = undefined;
    direction.isEnded = true;
    this.#returnPipe(direction);
    direction.inPipe = 0;
  }

  /** @returns whether bytes moved or the state changed, so that more may move */
  #move(direction: Direction): boolean {
    if (direction.to.isBroken) return false;
    if (direction.rest !== undefined) return this.#sendRest(direction, direction.rest);
    if (direction.hasUrgent) direction.isBulk = false;
    if (direction.isBulk || direction.inPipe > 0) return this.#splice(direction);
    return !direction.isEnded && this.#copy(direction);
  }

  #sendRest(direction: Direction, rest: Buffer): boolean {
    const sent = this.#syscalls.send(direction.to.fd, rest, rest.length);
    if (sent < 0) return this.#hasFailed(direction, sent);
    direction.rest = sent === rest.length ? undefined : rest.subarray(sent);
    return true;
  }

  #copy(direction: Direction): boolean {
    const length = this.#receive(direction);
    if (length <= 0) return false;
    direction.isTls ||= startsWithTlsRecord(this.#buffer);
    direction.endsWithTlsClose = direction.isTls && endsWithTlsClose(this.#buffer.subarray(0, length));
    direction.isBulk = length === BUFFER_BYTES;
    direction.received += length;
    this.#onReceived(direction);
    const sent = this.#syscalls.send(direction.to.fd, this.#buffer, length);
    if (sent < 0 && this.#hasFailed(direction, sent)) return true;
    if (sent < length) {
      direction.rest = Buffer.from(this.#buffer.subarray(Math.max(sent, 0), length));
      return true;
    }
    // After a short read the socket is empty, and further bytes cause an event. The end of the stream may not.
    return direction.isBulk || direction.isEndAnnounced || direction.hasUrgent;
  }

  /** Receives into the buffer. @returns 0 or less if nothing was received */
  #receive(direction: Direction): number {
    const length = this.#syscalls.recv(direction.from.fd, this.#buffer, BUFFER_BYTES);
    if (length <= 0) this.#endedBy(direction, length);
    return length;
  }

  /** Fills and empties the pipe. */
  #splice(direction: Direction): boolean {
    const { isBulk } = direction;
    const isFilled = isBulk && !direction.isEnded && this.#fill(direction);
    if (direction.inPipe === 0 || direction.pipe === undefined) return isFilled || direction.isBulk !== isBulk;
    // Never more than the pipe holds: the kernel would wait for more before it sends the last bytes.
    const sent = this.#syscalls.splice(direction.pipe.read, direction.to.fd, direction.inPipe);
    if (sent < 0) return this.#hasFailed(direction, sent) || isFilled;
    direction.inPipe -= sent;
    return sent > 0 || isFilled;
  }

  /** @returns whether bytes moved into the pipe */
  #fill(direction: Direction): boolean {
    const wanted = Math.min(PIPE_BYTES - direction.inPipe, this.#spliceable(direction));
    if (wanted < MIN_SPLICE_BYTES) {
      // A full pipe is emptied first. Otherwise few bytes are left, which are copied.
      if (direction.inPipe === 0) direction.isBulk = false;
      return false;
    }
    direction.pipe ??= this.#pipes.borrow();
    if (direction.pipe === undefined) {
      direction.isBulk = false;
      return false;
    }
    const length = this.#syscalls.splice(direction.from.fd, direction.pipe.write, wanted);
    if (length < 0) {
      this.#endedBy(direction, length);
      return false;
    }
    if (length === 0) {
      // The end of the stream, or urgent data before it, which only a receive passes.
      direction.isBulk = false;
      return false;
    }
    if (direction.inPipe === 0 && length < MIN_SPLICE_BYTES) direction.isBulk = false;
    direction.endsWithTlsClose = false;
    direction.inPipe += length;
    direction.received += length;
    this.#onReceived(direction);
    return true;
  }

  /** The last bytes of TLS are copied, because a splice would hide them. */
  #spliceable(direction: Direction): number {
    if (!direction.isTls) return PIPE_BYTES;
    return this.#syscalls.receiveQueue(direction.from.fd) - TLS_CLOSE_BYTES;
  }

  /** Handles the result of a receive that is not a number of bytes. */
  #endedBy(direction: Direction, result: number): void {
    if (result === -EAGAIN) return;
    if (result < 0) direction.from.break();
    direction.isEnded = true;
  }

  /** Handles an error number of a send. @returns false if the side only blocks */
  #hasFailed(direction: Direction, result: number): boolean {
    if (result === -EAGAIN) return false;
    direction.to.break();
    return true;
  }

  #returnPipe(direction: Direction): void {
    if (direction.pipe === undefined) return;
    this.#pipes.giveBack(direction.pipe, direction.inPipe === 0);
    direction.pipe = undefined;
  }

  /** The end of a broken side is not the end of its stream. */
  #passEndOn(direction: Direction): void {
    const { from, to } = direction;
    if (direction.isShut || from.isBroken || to.isBroken || from.pair.canReturn) return;
    direction.isShut = true;
    // If both directions have ended, the close that follows sends the FIN.
    if (from.pair.to(from).isShut) return;
    if (this.#syscalls.shutdownWrite(to.fd) < 0) to.break();
  }
}
