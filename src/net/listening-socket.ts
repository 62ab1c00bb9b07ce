/**
 * Listening sockets below the level of `net.Server`: Node neither passes a listener to a child, nor documents its
 * descriptor or a way to stop accepting without a close. All use of the undocumented handles of listeners is in this file.
 */
import net from "node:net";
import { getSystemErrorName } from "node:util";

/** The used part of the handle of a listening `net.Server`. Methods return 0 or a negative error number. */
interface Handle {
  readonly fd: number;
  /** Sets O_NONBLOCK, and marks the socket as readable. Fails while the event loop watches it. */
  open(fd: number): number;
  readStart(): number;
  readStop(): number;
  /** Listens, and registers the socket with the event loop. */
  listen(backlog: number): number;
}

/**
 * Returns the descriptor of a listening socket, to be passed to a child. A child that gets it as descriptor 0, 1 or 2
 * makes it blocking for this process, too: close or pause the server in the same turn of the event loop, or an accept
 * without a client blocks.
 *
 * @throws Error when the server does not listen
 */
export function listenerFd(server: net.Server): number {
  return handleOf(server).fd;
}

/** Whether this Node has what `bindPausable` needs. */
export function canBindPausable(): boolean {
  return internals._createServerHandle !== undefined;
}

/**
 * Binds a socket that `pauseAccepting` works on. It also works on a server that listens on a descriptor.
 *
 * @param address an IP address
 * @param ipv6Only whether an IPv6 socket refuses IPv4 clients; default: no
 * @returns a handle for `net.Server.listen`, which reports a port in use
 * @throws the system's error, with its `code`
 */
export function bindPausable(address: string, port: number, ipv6Only: boolean = false): object {
  const family = net.isIPv6(address) ? 6 : 4;
  const flags = ipv6Only ? UV_TCP_IPV6ONLY : 0;
  const handle: unknown = internals._createServerHandle?.(address, port, family, undefined, flags);
  if (typeof handle === "number") throw systemError("bind", handle);
  if (!isHandle(handle)) throw unsupported();
  // libuv reads only from sockets that were opened by descriptor; otherwise `readStart` would fail.
  check("open", handle.open(handle.fd));
  return handle;
}

/**
 * Stops accepting on a socket of `bindPausable`. It stays bound and listening: the kernel keeps clients in the backlog.
 *
 * libuv watches a listener for the same event as a connection that is being read, so the end of reading ends the watch.
 *
 * @throws Error when this Node cannot do it
 */
export function pauseAccepting(server: net.Server): void {
  const handle = handleOf(server);
  check("readStart", handle.readStart());
  check("readStop", handle.readStop());
}

/**
 * Accepts again after `pauseAccepting`, the clients in the backlog first.
 *
 * @throws Error when this Node cannot do it
 */
export function resumeAccepting(server: net.Server, backlog: number): void {
  const handle = handleOf(server);
  // A child may have made the socket blocking.
  check("open", handle.open(handle.fd));
  check("listen", handle.listen(backlog));
}

/** A flag of libuv. */
const UV_TCP_IPV6ONLY = 1;

const internals: typeof net & { _createServerHandle?(...bind: readonly unknown[]): unknown } = net;

function handleOf(server: net.Server): Handle {
  const handle: unknown = "_handle" in server ? server._handle : undefined;
  if (!isHandle(handle)) throw new Error("the listener has no descriptor");
  return handle;
}

function isHandle(value: unknown): value is Handle {
  return typeof value === "object" && value !== null && "fd" in value && typeof value.fd === "number" && value.fd >= 0;
}

function check(call: string, result: number): void {
  if (result !== 0) throw systemError(call, result);
}

function systemError(call: string, number: number): Error {
  const code = getSystemErrorName(number);
  return Object.assign(new Error(`${call} ${code}`), { code });
}

function unsupported(): Error {
  return new Error(`Node ${process.version} cannot pause a listener: use Node 24`);
}
