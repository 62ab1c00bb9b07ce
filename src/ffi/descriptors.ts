/** Pipes, and whether a descriptor blocks. */
import { constants } from "node:fs";
import { type Libc, systemError } from "./libc.ts";

export interface Descriptors {
  /** Creates a pipe whose ends block and are close-on-exec. @throws the system's error, with its `code` */
  readonly pipe: () => { readonly readEnd: number; readonly writeEnd: number };
  /** Returns a copy of a descriptor that is close-on-exec. @throws the system's error, with its `code` */
  readonly duplicate: (fd: number) => number;
  /**
   * Makes reads and writes block, for all processes and threads that share the open file. Returns whether they did not
   * block before.
   */
  readonly makeBlocking: (fd: number) => boolean;
  /** Reverses `makeBlocking`. */
  readonly makeNonBlocking: (fd: number) => void;
}

const { O_NONBLOCK } = constants;
const O_CLOEXEC = 0o2000000;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;

/** @throws FfiError if the C library lacks a function */
export function descriptors({ find, errno }: Libc): Descriptors {
  const pipe2 = find("int pipe2(void *, int)");
  const fcntl = find("int fcntl(int, int, int)");
  return {
    pipe: () => {
      const ends = new Int32Array(2);
      if (pipe2(ends, O_CLOEXEC) !== 0) throw systemError("pipe2", errno());
      const [readEnd = -1, writeEnd = -1] = ends;
      return { readEnd, writeEnd };
    },
    duplicate: (fd) => {
      const copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
      if (copy === -1) throw systemError("fcntl", errno());
      return copy;
    },
    makeBlocking: (fd) => {
      const flags = fcntl(fd, F_GETFL, 0);
      if (flags === -1 || (flags & O_NONBLOCK) === 0) return false;
      fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
      return true;
    },
    makeNonBlocking: (fd) => void fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | O_NONBLOCK),
  };
}
