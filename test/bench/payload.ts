import { createCipheriv, hash } from "node:crypto";

export const KIB = 1024;
export const MIB: number = 1024 * KIB;

/**
 * Bytes that look random but are the same in every process, so that both sides know the sent bytes.
 * A shorter payload is the beginning of a longer one, which distinguishes a truncated transfer from a corrupt one.
 */
export function payload(bytes: number, seed = 0): Buffer {
  const counter = Buffer.alloc(16);
  counter.writeUInt32BE(seed);
  return createCipheriv("aes-128-ctr", Buffer.alloc(16), counter).update(Buffer.alloc(bytes));
}

export function sha256(bytes: Buffer): string {
  return hash("sha256", bytes);
}
