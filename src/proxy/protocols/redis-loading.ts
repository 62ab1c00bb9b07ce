/** Answers the commands of one client of Redis, while the target starts, with the error of a server that loads its data. */
import { peek } from "../../net/peek.ts";
import { starting } from "./messages.ts";
import type { WaitingClient } from "./protocol.ts";
import { RedisCommandReader } from "./redis-command.ts";

/** Longer commands are left to the target. */
const LONGEST = 16 * 1024;
/** Answers are longer than the shortest commands: so many are given before it is known that somebody reads them. */
const MAX_ANSWERS = 256;
/** Who waits does so until something is done about it. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * What sets how the connection goes on: its meaning would be lost with the answer. It waits, and all behind it. POST and
 * HOST: are what Redis knows a browser by that somebody else's page makes talk to it: it ends such a connection, and so has
 * to see them before what comes behind.
 */
const held: ReadonlySet<string> = new Set(
  (
    "AUTH HELLO SELECT CLIENT RESET QUIT MULTI EXEC DISCARD WATCH UNWATCH MONITOR SUBSCRIBE PSUBSCRIBE SSUBSCRIBE " +
    "UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE READONLY READWRITE ASKING SYNC PSYNC REPLCONF POST HOST:"
  ).split(" "),
);

export interface Answerable {
  /** How many bytes of commands are answered. */
  readonly length: number;
  /** How many answers they get. */
  readonly answers: number;
  /** Whether what comes next, and all behind it, is for the target. */
  readonly isOver: boolean;
}

/**
 * Returns the commands at the start of the client's bytes that can be answered now.
 *
 * @param reader reader of the first command, which may have read its beginning before
 */
export function answerable(bytes: Buffer, reader: RedisCommandReader = new RedisCommandReader()): Answerable {
  let length = 0;
  let answers = 0;
  while (answers < MAX_ANSWERS) {
    const command = (length === 0 ? reader : new RedisCommandReader()).read(bytes.subarray(length));
    if (command === undefined) return { length, answers, isOver: false };
    if (command === "unknown" || held.has(command.name)) return { length, answers, isOver: true };
    length += command.length;
    if (command.name !== "") answers += 1;
  }
  return { length, answers, isOver: false };
}

/**
 * Answers until something comes that it leaves to the target. Whatever comes of it, what is not answered is back in the
 * socket.
 *
 * @throws the reason of `signal`, or PeekError
 */
export async function answerLoading({ socket, progress }: WaitingClient, signal: AbortSignal): Promise<void> {
  const answer = `-LOADING ${starting(progress.service)}, try again later\r\n`;
  const reading = (): ((bytes: Buffer) => { value: Answerable; used: number } | undefined) => {
    const reader = new RedisCommandReader();
    return (bytes) => {
      const isUp = progress.state === "ready";
      const found: Answerable = isUp ? { length: 0, answers: 0, isOver: true } : answerable(bytes, reader);
      return found.length > 0 || found.isOver ? { value: found, used: found.length } : undefined;
    };
  };
  for (;;) {
    const { answers, isOver } = await peek(socket, { read: reading(), most: LONGEST, deadlineMs: NEVER_MS, signal });
    // Who does not read is not read either.
    if (!socket.write(answer.repeat(answers))) await drained(socket, signal);
    if (isOver) return;
  }
}

function drained(socket: WaitingClient["socket"], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason);
  socket.once("drain", resolve);
  signal.addEventListener("abort", onAbort, { once: true });
  return promise.finally(() => {
    socket.off("drain", resolve);
    signal.removeEventListener("abort", onAbort);
  });
}
