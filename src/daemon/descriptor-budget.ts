import { MAX_ADMIN_CLIENTS } from "../admin/server.ts";
import { MAX_PIPES } from "../dataplane/pipe-pool.ts";
import { MAX_LINGERING } from "../proxy/admission/lingering-close.ts";
import { connectionLimit } from "../proxy/admission/slots.ts";
import { MAX_QUERIES } from "../proxy/ident.ts";

/** Highest number of descriptors of one target: a process needs two pipes while it runs and six descriptors while it starts. */
const FILES_PER_TARGET = 6;
/** Pipes of the data plane use at most a sixteenth of the descriptors. */
const OPEN_FILES_PER_PIPE = 32;
/** Descriptors of the data plane without its pipes: its commands, its events, and the event loop of its thread. */
const DATA_PLANE_FILES = 10;
/** The event stream, a ping, files that are read. */
const OTHER_FILES = 16;
/** A lower limit of connections is probably a mistake. */
const FEW_CONNECTIONS = 256;

export interface DescriptorUse {
  /** RLIMIT_NOFILE. */
  readonly openFiles: number;
  /** Descriptors that were open at the start. */
  readonly ownFiles: number;
  readonly listeners: number;
  readonly targets: number;
  readonly usesIdent: boolean;
}

/** Returns how many connections the limit of open files allows at a time. */
export function connectionLimitOf({ openFiles, ownFiles, listeners, targets, usesIdent }: DescriptorUse): number {
  // An ident query has two: its connection, and the denied client that is kept until the answer.
  const ident = usesIdent ? 2 * MAX_QUERIES : 0;
  const reserved = ownFiles + listeners + targets * FILES_PER_TARGET;
  const dataPlane = 2 * maxPipesOf(openFiles) + DATA_PLANE_FILES;
  return connectionLimit(openFiles, reserved + dataPlane + MAX_ADMIN_CLIENTS + MAX_LINGERING + ident + OTHER_FILES);
}

/** Returns how many pipes the data plane may open under a limit of open files. Without a pipe it copies. */
export function maxPipesOf(openFiles: number): number {
  return Math.min(MAX_PIPES, Math.floor(openFiles / OPEN_FILES_PER_PIPE));
}

/** Returns a warning if the limit of open files allows only few connections, else undefined. */
export function openFilesWarning(use: DescriptorUse): string | undefined {
  const limit = connectionLimitOf(use);
  if (limit >= FEW_CONNECTIONS) return undefined;
  return `the limit of ${use.openFiles} open files allows ${limit} connections at a time: raise it (ulimit -n)`;
}
