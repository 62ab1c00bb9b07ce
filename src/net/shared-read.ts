/**
 * Reads sockets into one buffer of the process. Node's own reads allocate 64 KiB for each read and keep a stream object
 * for each chunk: two thirds of the CPU time of a relay.
 */
import type net from "node:net";

/** Bytes of one read. */
const BUFFER_BYTES = 128 * 1024;

/** What this module uses of a handle of Node, beyond the documentation; checked by `handleOf`. */
interface Handle {
  /** Called after each read, and at the end or the failure of the stream. */
  onread: (this: unknown, chunk?: unknown) => unknown;
  readonly bytesRead: number;
  reading: boolean;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
}

let shared: Buffer | undefined;

/** The reads of one socket. The end and the failure of its stream are still events of the socket. */
export class SharedRead {
  readonly #handle: Handle;

  private constructor(handle: Handle) {
    this.#handle = handle;
  }

  /**
   * Takes over the reads of a socket whose stream contains no bytes.
   *
   * @param onBytes called with the bytes of each read, which are overwritten after it returns
   * @returns undefined if this Node does not have the undocumented fields, or the socket is closed
   */
  static begin(socket: net.Socket, onBytes: (bytes: Buffer) => void): SharedRead | undefined {
    const handle = handleOf(socket);
    if (handle === undefined || socket.readableLength > 0) return undefined;
    shared ??= Buffer.allocUnsafeSlow(BUFFER_BYTES);
    const buffer = shared;
    const onEnd = handle.onread;
    let seen = handle.bytesRead;
    handle.onread = (chunk) => {
      const length = handle.bytesRead - seen;
      if (length === 0) return onEnd.call(handle, chunk);
      seen += length;
      if (!socket.destroyed) onBytes(buffer.subarray(0, length));
      return undefined;
    };
    handle.useUserBuffer(buffer);
    return new SharedRead(handle);
  }

  /** Stops reading until `resume`. */
  pause(): void {
    if (!this.#handle.reading) return;
    this.#handle.reading = false;
    this.#handle.readStop();
  }

  resume(): void {
    if (this.#handle.reading) return;
    this.#handle.reading = true;
    this.#handle.readStart();
  }
}

function handleOf(socket: net.Socket): Handle | undefined {
  const handle: Partial<Handle> | null | undefined = Reflect.get(socket, "_handle");
  if (handle === null || handle === undefined) return undefined;
  const { onread, useUserBuffer, readStart, readStop, bytesRead } = handle;
  const isKnown = [onread, useUserBuffer, readStart, readStop].every((method) => typeof method === "function");
  return isKnown && typeof bytesRead === "number" ? (handle as Handle) : undefined;
}
