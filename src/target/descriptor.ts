import type net from "node:net";

/**
 * The descriptor of a listening socket, to be handed to a child. Node takes a connection in a child's `stdio`, but no
 * listener, and has no documented way to its number; this one is as old as its own tests of it.
 *
 * A child that takes it as its descriptor 0, 1 or 2 makes it blocking, for us as well: whoever hands it over must
 * close it in the same turn of the event loop, or the next accept may never return.
 *
 * @throws Error when the server does not listen
 */
export function listenerFd(server: net.Server): number {
  const handle: unknown = "_handle" in server ? server._handle : undefined;
  const fd: unknown = typeof handle === "object" && handle !== null && "fd" in handle ? handle.fd : undefined;
  if (typeof fd !== "number" || fd < 0) throw new Error("a listener without a descriptor");
  return fd;
}
