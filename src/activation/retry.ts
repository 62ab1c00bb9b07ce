/** Activations that one client may lose before it is rejected. */
export const MAX_ATTEMPTS = 3;

/** What retryWhenLost() uses of a lease. */
interface Losable extends Disposable {
  /** Aborted when the target is lost. */
  readonly signal: AbortSignal;
}

export interface RetryOptions<L extends Losable, T> {
  readonly acquire: () => L | Promise<L>;
  readonly use: (lease: L) => Promise<T>;
  /** Its signal is aborted when the client has gone. */
  readonly gone: { readonly signal: AbortSignal };
  /** Its signal limits all attempts together. */
  readonly deadline: { readonly signal: AbortSignal };
}

/**
 * Calls `use` with a lease. If `use` fails because the target was lost, repeats it with a lease of the next activation, up
 * to MAX_ATTEMPTS times. Disposes the lease if `use` fails; otherwise `use` or the caller disposes it.
 *
 * @throws the reason of `gone`, or the last error
 */
export async function retryWhenLost<L extends Losable, T>(options: RetryOptions<L, T>): Promise<T> {
  const { acquire, use, gone, deadline } = options;
  for (let attempt = 1; ; attempt += 1) {
    const lease = await acquire();
    try {
      return await use(lease);
    } catch (error) {
      lease[Symbol.dispose]();
      gone.signal.throwIfAborted();
      if (deadline.signal.aborted || !lease.signal.aborted || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}
