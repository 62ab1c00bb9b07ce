/** The ways to start programs on this machine. */
import { messageOf } from "../errors.ts";
import { FfiError, loadLibc } from "../ffi/libc.ts";
import { NodeSpawner } from "./node-spawner.ts";
import { PosixSpawner } from "./posix-spawner.ts";
import type { Spawner } from "./spawner.ts";

let node: NodeSpawner | undefined;
/** A string is the reason why posix_spawn cannot be used. */
let posix: PosixSpawner | string | undefined;

/**
 * Loads posix_spawn, which blocks the event loop for 10 to 50 ms and takes 2 MB, once. Until then programs are started with fork.
 *
 * @returns why it cannot be used; then programs are started with fork
 */
export function loadPosixSpawn(): string | undefined {
  posix ??= create();
  return typeof posix === "string" ? posix : undefined;
}

export function forkWarning(problem: string): string {
  return `programs are started with fork, which takes 2 ms longer: ${problem}`;
}

/** Returns the fastest loaded spawner. @param setsAccount whether it must be able to set a user and a group */
export function fastestSpawner(setsAccount: boolean): Spawner {
  return setsAccount || !(posix instanceof PosixSpawner) ? nodeSpawner() : posix;
}

/** Kills the programs that are being started and blocks until then, for the exit of the process. Node's spawn() blocks itself. */
export function killStarting(): void {
  if (posix instanceof PosixSpawner) posix.killStarting();
}

function nodeSpawner(): NodeSpawner {
  node ??= new NodeSpawner();
  return node;
}

function create(): PosixSpawner | string {
  try {
    return new PosixSpawner(loadLibc());
  } catch (error) {
    if (!(error instanceof FfiError)) throw error;
    return messageOf(error);
  }
}
