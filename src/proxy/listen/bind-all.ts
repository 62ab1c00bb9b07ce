import { bindErrorOf } from "../../errors.ts";

/** New listeners, which are closed when this is disposed unless they were committed. */
export interface PendingBind extends Disposable {
  commit(): void;
}

/**
 * Waits until all listeners are bound. If one cannot be bound, closes all.
 *
 * @throws BindError with a line for each address that cannot be bound
 */
export async function bindAll(opening: readonly Promise<void>[], close: () => void): Promise<PendingBind> {
  const failure = bindErrorOf(await Promise.allSettled(opening));
  if (failure !== undefined) {
    close();
    throw failure;
  }
  let isCommitted = false;
  return {
    commit: () => {
      isCommitted = true;
    },
    [Symbol.dispose]: () => {
      if (!isCommitted) close();
    },
  };
}
