/** Clients whose connection is complete and that no process has accepted yet. Only Linux lists them. */
import { fstatSync } from "node:fs";
import { CLOSE_WAIT, ESTABLISHED, LISTENING, type SocketRow, socketRows } from "./socket-table.ts";

/** @returns the addresses and ports of the clients in the backlog of the listening socket `fd`, as the kernel writes them */
export function backlogOf(fd: number): ReadonlySet<string> {
  const rows = [...socketRows("tcp"), ...socketRows("tcp6")];
  const { ino } = fstatSync(fd);
  const listener = rows.find(({ inode, state }) => inode === ino && state === LISTENING);
  if (listener === undefined) return new Set();
  const isComplete = ({ state }: SocketRow): boolean => state === ESTABLISHED || state === CLOSE_WAIT;
  const waiting = rows.filter((row) => row.inode === 0 && isComplete(row) && isFor(listener, row));
  return new Set(waiting.map(({ remote }) => remote));
}

/** Whether a connection came in on a listener: at its address, or at any address if it listens on all. */
function isFor(listener: SocketRow, connection: SocketRow): boolean {
  const [address = "", port] = listener.local.split(":");
  return /^0+$/.test(address) ? connection.local.endsWith(`:${port}`) : connection.local === listener.local;
}
