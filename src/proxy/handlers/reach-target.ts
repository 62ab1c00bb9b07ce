/** Acquires a target and connects to it, within one deadline. */
import type net from "node:net";
import type { Activator } from "../../activation/activator.ts";
import { MovedAddressError, StartTimeoutError } from "../../activation/errors.ts";
import type { Lease } from "../../activation/lease.ts";
import { CLIENT } from "../../activation/lease-set.ts";
import { retryWhenLost } from "../../activation/retry.ts";
import type { Deadline } from "../../async/deadline.ts";
import type { Semaphore } from "../../async/semaphore.ts";
import { abortable } from "../../async/wait.ts";
import { messageOf } from "../../errors.ts";
import { formatPeer } from "../../net/addresses.ts";
import { dial } from "../../net/dial.ts";
import type { Client } from "./handler.ts";

/** The kernel repeats a SYN after 1 s and 3 s if the target's backlog is full. */
const DIAL_MS = 10_000;

export interface TargetPort {
  readonly service: string;
  readonly activator: Activator;
  readonly targetPort: number;
  /** Limits the dials at a time, because a target with a short backlog drops more. */
  readonly pace: Semaphore;
}

/** A connection to a target, and the lease that keeps the target up. */
export interface ReachedTarget {
  readonly upstream: net.Socket;
  readonly lease: Lease;
  /** Rest of the wait in milliseconds. */
  readonly leftMs: number;
}

/**
 * Acquires the target and connects to it. If the target goes down in between, tries again.
 *
 * @param limitMs limit of the wait; default: the start timeout
 * @throws the reason of the client's signal, an ActivationError, or the error of the dial
 */
export async function reachTarget(
  target: TargetPort,
  { peer, signal: gone }: Pick<Client, "peer" | "signal">,
  limitMs?: number,
): Promise<ReachedTarget> {
  const { activator, service } = target;
  using deadline = activator.deadline(limitMs);
  const signal = AbortSignal.any([gone, deadline.signal]);
  return await retryWhenLost({
    acquire: () => activator.acquire(signal, CLIENT, { client: formatPeer(peer), service }),
    use: async (lease) => {
      const upstream = await connect(target, lease, deadline, signal);
      return { upstream, lease, leftMs: deadline.leftMs };
    },
    gone,
    deadline: deadline.signal,
  });
}

/** Connects to the target. If its address changes meanwhile, or the dial fails, checks the target and dials again. */
async function connect(
  target: TargetPort,
  lease: Lease,
  deadline: Deadline,
  waiting: AbortSignal,
): Promise<net.Socket> {
  const signal = AbortSignal.any([waiting, lease.signal]);
  for (let failure: unknown; ; ) {
    try {
      if (failure !== undefined) await abortable(target.activator.verify(lease), signal);
      return await dialTarget(target, lease, deadline, signal);
    } catch (error) {
      if (failure === undefined) signal.throwIfAborted();
      else if (error === deadline.signal.reason) throw lateError(error, failure);
      else if (signal.aborted || !(error instanceof MovedAddressError)) throw error;
      failure = error;
    }
  }
}

/**
 * Takes at most half of the remaining time, because a check of the target and another dial follow a failed dial.
 *
 * @throws MovedAddressError if the target's address changed meanwhile: another container may have the old one
 */
async function dialTarget(
  { activator, targetPort, pace }: TargetPort,
  lease: Lease,
  deadline: Deadline,
  signal: AbortSignal,
): Promise<net.Socket> {
  using _permit = await pace.acquire(signal);
  await activator.waitForInspection(signal);
  const { address: host, port = targetPort, moved } = lease;
  if (host === "") throw new MovedAddressError("the target has no address now");
  const timeoutMs = Math.min(DIAL_MS, deadline.leftMs / 2);
  const upstream = await dial({ host, port, timeoutMs, signal: AbortSignal.any([signal, moved]) });
  try {
    await activator.waitForInspection(signal);
    moved.throwIfAborted();
    return upstream;
  } catch (error) {
    upstream.on("error", () => {});
    upstream.destroy();
    throw error;
  }
}

/** Returns the error for a client whose deadline passed, with the failure of its last dial. */
function lateError(late: unknown, failure: unknown): StartTimeoutError {
  return new StartTimeoutError(`${messageOf(late)}: ${messageOf(failure)}`, { cause: failure });
}
