import { startsWithTlsRecord } from "../net/tls-close.ts";
import { EAGAIN, type Syscalls } from "./syscalls.ts";

/** The result of sending the bytes that Node had read from one side to the other side. */
export interface SentEarly {
  /** What the other side did not accept yet. */
  readonly left: Buffer;
  /** Whether the other side failed. The kernel does not report that again. */
  readonly hasFailed: boolean;
  /** Whether the bytes begin with a TLS record. */
  readonly isTls: boolean;
}

const NOTHING = Buffer.alloc(0);

/** Sends bytes that come before all others of their direction. Does not block. */
export function sendEarly(syscalls: Syscalls, bytes: Buffer, fd: number): SentEarly {
  if (bytes.length === 0) return { left: NOTHING, hasFailed: false, isTls: false };
  const sent = syscalls.send(fd, bytes, bytes.length);
  const hasFailed = sent < 0 && sent !== -EAGAIN;
  const left = hasFailed ? NOTHING : bytes.subarray(Math.max(0, sent));
  return { left, hasFailed, isTls: startsWithTlsRecord(bytes) };
}
