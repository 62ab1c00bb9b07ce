/** Clients in the backlog of a listening socket: connected, but not accepted yet. Only Linux lists them. */
import { fstatSync } from "node:fs";
import { CLOSE_WAIT, ESTABLISHED, LISTENING, type SocketRow, socketRows } from "./proc-net.ts";

/** Returns the addresses and ports of the clients in the backlog of the listening socket `fd`, in the kernel's notation. */
export function backlogOf(fd: number): ReadonlySet<string> {
  const rows = [...socketRows("tcp"), ...socketRows("tcp6")];
  const { ino } = fstatSync(fd);
  const listener = rows.find(({ inode, state }) => inode === ino && state === LISTENING);
  if (listener === undefined) return new Set();
  const isComplete = ({ state }: SocketRow): boolean => state === ESTABLISHED || state === CLOSE_WAIT;
  const waiting = rows.filter((row) => row.inode === 0 && isComplete(row) && isFor(listener, row));
  return new Set(waiting.map(({ remote }) => remote));
}

/** Whether a connection belongs to a listener: its address is equal, or the listener listens on all addresses. */
function isFor(listener: SocketRow, connection: SocketRow): boolean {
  const [address = "", port] = listener.local.split(":");
  return /^0+$/.test(address) ? connection.local.endsWith(`:${port}`) : connection.local === listener.local;
}
