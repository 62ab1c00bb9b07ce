/** Pipes for splice(2), borrowed by a direction only while bytes are in them. */
import type { DescriptorPair, Syscalls } from "./syscalls.ts";

/** 64 KiB costs a third more CPU per byte than 256 KiB, and 1 MiB costs the same as 256 KiB. */
export const PIPE_BYTES: number = 256 * 1024;
/** The kernel allows an unprivileged user 64 MiB of pipes by default: 256 pipes of this size. */
export const MAX_PIPES = 64;

export type Pipe = DescriptorPair;

export class PipePool {
  readonly #syscalls: Syscalls;
  readonly #maximum: number;
  readonly #bytes: number;
  readonly #free: Pipe[] = [];
  #open = 0;

  /**
   * @param maximum number of pipes that may be open at a time
   * @param bytes requested size of a pipe; the kernel may grant less
   */
  constructor(syscalls: Syscalls, maximum: number, bytes: number = PIPE_BYTES) {
    this.#syscalls = syscalls;
    this.#maximum = maximum;
    this.#bytes = bytes;
  }

  /** Returns an empty pipe, or undefined if no more can be opened: the caller then copies. */
  borrow(): Pipe | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#open >= this.#maximum) return undefined;
    const pipe = this.#syscalls.pipe(this.#bytes);
    if (typeof pipe === "number") return undefined;
    this.#open += 1;
    return pipe;
  }

  /** @param isEmpty a pipe with bytes in it is closed, because the bytes belong to one connection */
  giveBack(pipe: Pipe, isEmpty: boolean): void {
    if (isEmpty) this.#free.push(pipe);
    else this.#close(pipe);
  }

  /** Closes the free pipes. */
  close(): void {
    for (const pipe of this.#free.splice(0)) this.#close(pipe);
  }

  #close({ read, write }: Pipe): void {
    this.#open -= 1;
    this.#syscalls.close(read);
    this.#syscalls.close(write);
  }
}
