/** What the fronts of a service lead to. */
import type { Activator } from "./activation/activator.ts";
import { Gate } from "./async.ts";
import type { Service, ServicePort } from "./config/config.ts";
import { Builtin } from "./net/builtin.ts";
import type { Destination } from "./net/destination.ts";
import { Forward } from "./net/forward.ts";
import { ToTarget } from "./net/to-target.ts";

/** Gives each port of one service its destination. */
export type DestinationOf = (port: ServicePort) => Destination;

/** @param activator of the service's target; undefined where nothing is woken */
export function destinationsOf(service: Service, activator: Activator | undefined): DestinationOf {
  const { target, releasePace, startTimeoutMs } = service;
  switch (target.kind) {
    case "forward":
      return always(new Forward({ host: target.host, port: target.port, timeoutMs: startTimeoutMs }));
    case "builtin":
      return always(new Builtin(target.builtin));
    default: {
      if (activator === undefined) throw new Error(`service "${service.name}" has no activator`);
      // The ports of a service share its pace.
      const pace = new Gate(releasePace);
      return (port) => new ToTarget({ activator, targetPort: port.target, pace });
    }
  }
}

function always(destination: Destination): DestinationOf {
  return () => destination;
}
