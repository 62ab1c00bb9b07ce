/** What the main thread and the worker of the data plane exchange through Node. */
import type { MessagePort } from "node:worker_threads";

/** Slots of the main thread, and slots of the worker. Only used slots need memory. */
export const MAX_PAIRS: number = 1 << 20;

export interface WorkerOptions {
  /**
   * Received bytes of each slot, from the client and from the upstream. Written by the worker after an `add`. The main
   * thread assigns the slots of the first half, the worker those of the second half.
   */
  readonly counts: Float64Array;
  /** See `controls`. */
  readonly control: Int32Array;
  /** Messages that belong to commands. */
  readonly port: MessagePort;
  readonly maxPipes: number;
}

/** Indexes of the numbers in `control`. */
export const controls = {
  /** A value of `workerStates`. */
  state: 0,
  /** 0 while the worker starts; then the descriptor that takes its commands, or -1 without one. */
  commands: 1,
  /** Limit of the connections that the worker accepts at a time. */
  maxAccepted: 2,
} as const;

/** Main sets `stopping`; the worker then sets `stopped`, when its connections are reset. */
export const workerStates = { running: 0, stopping: 1, stopped: 2 } as const;

export type WorkerMessage =
  /** The worker is ready; the descriptor that takes its commands. */
  | { readonly commands: number }
  /** Why the data plane cannot work. The worker then ends. */
  | { readonly problem: string }
  /** See reports.ts. */
  | { readonly reports: readonly number[] };
