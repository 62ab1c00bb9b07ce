/** A listening socket that the main thread has lent to the data plane. */
export class LentListener {
  readonly id: number;
  readonly fd: number;
  /** Where its clients are connected to: see socket-address.ts. */
  readonly upstream: Uint8Array;
  /** Limit of simultaneous dials. */
  readonly maxDials: number;
  /** `full`: the main thread must accept its clients. `stopped`: it was given back; its connections may be open. */
  state: "accepting" | "paused" | "full" | "stopped" = "paused";
  dials = 0;
  /** Number of open connections. */
  open = 0;

  constructor({ id, fd, upstream, maxDials }: Pick<LentListener, "id" | "fd" | "upstream" | "maxDials">) {
    this.id = id;
    this.fd = fd;
    this.upstream = upstream;
    this.maxDials = maxDials;
  }
}
