/** The counters that all connections of a service share. */
import type { Meter } from "../net/relay.ts";
import { Slots } from "./admission/slots.ts";
import type { ConnectionFacts } from "./reports.ts";

export interface ServiceConnections {
  /** Slots of the clients that are not served yet. */
  readonly waiting: Slots;
  /** Number of served clients. */
  active: number;
  /** All connections, in the order of their accept. */
  readonly open: Set<{ readonly view: ConnectionView }>;
  readonly meter: Meter;
}

/** An open connection. */
export interface ConnectionView extends ConnectionFacts {
  /** Time of the accept: Unix time in milliseconds. */
  readonly since: number;
  readonly isServed: boolean;
}

/**
 * Returns the counters for data connections, which need no waiting slot of the service: their target is up, so they wait
 * no longer than one dial.
 */
export function withoutWaitLimit(connections: ServiceConnections): ServiceConnections {
  return {
    waiting: new Slots({ limit: Number.POSITIVE_INFINITY, what: "data connections" }),
    open: connections.open,
    meter: connections.meter,
    get active() {
      return connections.active;
    },
    set active(count) {
      connections.active = count;
    },
  };
}
