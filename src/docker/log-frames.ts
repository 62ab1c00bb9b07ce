const HEADER_BYTES = 8;
const STDERR = 2;

/**
 * Removes the frames from the output of a container without a terminal; chunks may have any size. Each frame has a
 * header of 8 bytes: the stream (1 is stdout, 2 is stderr), 3 zero bytes, and the length.
 *
 * @see https://docs.docker.com/reference/api/engine/version/v1.45/#tag/Container/operation/ContainerAttach
 */
export class LogFrames {
  readonly #onOutput: (bytes: Uint8Array, isError: boolean) => void;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #bodyBytes = 0;

  constructor(onOutput: (bytes: Uint8Array, isError: boolean) => void) {
    this.#onOutput = onOutput;
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) at += this.#bodyBytes > 0 ? this.#body(chunk, at) : this.#head(chunk, at);
  }

  /** Returns the number of bytes read, like `#body`. */
  #head(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.#header, this.#headerBytes, at);
    this.#headerBytes += taken;
    if (this.#headerBytes < HEADER_BYTES) return taken;
    this.#headerBytes = 0;
    this.#bodyBytes = this.#header.readUInt32BE(4);
    return taken;
  }

  #body(chunk: Buffer, at: number): number {
    const bytes = chunk.subarray(at, at + this.#bodyBytes);
    this.#bodyBytes -= bytes.length;
    this.#onOutput(bytes, this.#header[0] === STDERR);
    return bytes.length;
  }
}
