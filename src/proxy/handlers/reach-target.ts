/** Acquires a target and connects to it, within one deadline. */
import type net from "node:net";
import type { Activator } from "../../activation/activator.ts";
import { MovedAddressError, StartTimeoutError } from "../../activation/errors.ts";
import type { Lease } from "../../activation/lease.ts";
import { CLIENT } from "../../activation/lease-set.ts";
import { retryWhenLost } from "../../activation/retry.ts";
import { AnySignal } from "../../async/any-signal.ts";
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
  /** When the lease was granted, on the monotonic clock in milliseconds. */
  readonly readyAt: number;
  /** Rest of the wait in milliseconds. */
  readonly leftMs: number;
}

/**
 * Acquires the target and connects to it. If the target goes down in between, tries again. A client of a ready target
 * waits for nothing but the dial.
 *
 * @param limitMs limit of the wait; default: the start timeout
 * @throws the reason of the client's signal, an ActivationError, or the error of the dial
 */
export async function reachTarget(
  target: TargetPort,
  client: Pick<Client, "peer" | "signal">,
  limitMs?: number,
): Promise<ReachedTarget> {
  const { activator, service } = target;
  using deadline = activator.deadline(limitMs);
  const waiting = new AnySignal(client, deadline);
  const leaseClient = { client: formatPeer(client.peer), service };
  return await retryWhenLost({
    acquire: () => activator.acquireNow(CLIENT, leaseClient) ?? activator.acquire(waiting.signal, CLIENT, leaseClient),
    use: async (lease) => {
      const readyAt = performance.now();
      const upstream = await connect({ target, client, lease, deadline, waiting: new AnySignal(waiting, lease) });
      return { upstream, lease, readyAt, leftMs: deadline.leftMs };
    },
    gone: client,
    deadline,
  });
}

interface Attempt {
  readonly target: TargetPort;
  readonly client: Pick<Client, "signal">;
  readonly lease: Lease;
  readonly deadline: Deadline;
  /** Aborted when the client has gone, the deadline has passed or the target is lost. */
  readonly waiting: AnySignal;
}

/** Connects to the target. If its address changes meanwhile, or the dial fails, checks the target and dials again. */
async function connect(attempt: Attempt): Promise<net.Socket> {
  const { target, lease, deadline, waiting } = attempt;
  for (let failure: unknown; ; ) {
    try {
      if (failure !== undefined) await abortable(target.activator.verify(lease), waiting.signal);
      return await dialTarget(attempt);
    } catch (error) {
      if (failure === undefined) waiting.signal.throwIfAborted();
      else if (error === deadline.signal.reason) throw lateError(error, failure);
      else if (waiting.signal.aborted || !(error instanceof MovedAddressError)) throw error;
      failure = error;
    }
  }
}

/**
 * Takes at most half of the remaining time, because a check of the target and another dial follow a failed dial.
 *
 * @throws MovedAddressError if the target's address changed meanwhile: another container may have the old one
 */
async function dialTarget({ target, client, lease, deadline, waiting }: Attempt): Promise<net.Socket> {
  const { activator, targetPort, pace } = target;
  using _permit = pace.tryAcquire() ?? (await pace.acquire(waiting.signal));
  if (activator.isInspecting) await activator.waitForInspection(waiting.signal);
  const { address: host, port = targetPort, moved } = lease;
  if (host === "") throw new MovedAddressError("the target has no address now");
  const timeoutMs = Math.min(DIAL_MS, deadline.leftMs / 2);
  const upstream = await dial({ host, port, timeoutMs, signal: [client.signal, lease.signal, moved] });
  try {
    if (activator.isInspecting) await activator.waitForInspection(waiting.signal);
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
