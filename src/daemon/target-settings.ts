/** Settings of a target that several services may share. */
import type { ActivationPolicy } from "../activation/activation-policy.ts";
import type { Probe, Target } from "../activation/target.ts";
import type { ReadySpec, WokenService } from "../config/config.ts";
import { ENABLE_LABEL } from "../config/label-names.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";
import { bannerProbe } from "../readiness/banner.ts";
import { healthyProbe } from "../readiness/healthy.ts";
import { httpProbe } from "../readiness/http.ts";
import { logProbe } from "../readiness/log.ts";
import { all, type NamedProbe } from "../readiness/probe.ts";
import { protocolProbe } from "../readiness/protocol.ts";
import { tcpProbe } from "../readiness/tcp.ts";

/**
 * Returns the label that a service of labels requires of its container, so that a container with copied compose labels
 * and a higher number cannot take its place.
 */
export function requiredLabelOf(services: readonly WokenService[]): string | undefined {
  return services.some(({ target }) => target.kind === "container" && target.byLabels) ? ENABLE_LABEL : undefined;
}

/** Returns the network on which wakeport connects to a container; undefined if no service has ports. */
export function networkOf(services: readonly WokenService[]): string | undefined {
  const target = services.find(({ ports }) => ports.length > 0)?.target;
  return target === undefined || target.kind === "process" ? undefined : target.network;
}

/** Returns the longest grace of the services in milliseconds; undefined if no service sets one. */
export function graceOf(services: readonly WokenService[]): number | undefined {
  const graces = services.flatMap(({ stopGraceMs }) => stopGraceMs ?? []);
  return graces.length === 0 ? undefined : Math.max(...graces);
}

/** Returns the policy with the longest times of the services. */
export function policyOf(services: readonly WokenService[]): ActivationPolicy {
  const longest = (time: (service: WokenService) => number): number => Math.max(...services.map(time));
  const { sleep, thenStop } = services[0] as WokenService;
  // The target is kept awake by direct traffic if one of its services is.
  const trafficLimits = services.flatMap(({ directTrafficBytes }) => directTrafficBytes ?? []);
  return {
    sleep,
    ...(thenStop && { thenStop }),
    idleTimeoutMs: longest(({ idleTimeoutMs }) => idleTimeoutMs),
    minUptimeMs: longest(({ minUptimeMs }) => minUptimeMs),
    startTimeoutMs: longest(({ startTimeoutMs }) => startTimeoutMs),
    ...(trafficLimits.length > 0 && { directTrafficBytes: Math.min(...trafficLimits) }),
  };
}

/** Returns a probe with the conditions of all services. The name of a condition contains its services if not all have it. */
export function probeOf(services: readonly WokenService[], target: Target): Probe {
  const keyed = services.flatMap((service) => probesOf(service, target).map((one) => ({ ...one, by: service.name })));
  const probes = [...Map.groupBy(keyed, ({ key }) => key).values()].flatMap((same) => {
    const names = new Set(same.map(({ by }) => by));
    const suffix = names.size < services.length ? ` (of service ${[...names].join(", ")})` : "";
    return same.slice(0, 1).map(({ probe }) => ({ ...probe, name: `${probe.name}${suffix}` }));
  });
  return all(probes);
}

/** A service with several TCP ports is probed on its first one, because data ports are open only during a transfer. */
function probesOf({ ready, ports, proxyProtocol }: WokenService, target: Target): { key: string; probe: NamedProbe }[] {
  const connectable = ports.find(({ protocol }) => protocol !== "udp") ?? ports[0];
  // A service without ports has only probes that do not connect.
  const port = connectable?.target ?? 0;
  const { send } = proxyProtocol;
  return ready.map((part) => ({
    key: JSON.stringify([part, port, send]),
    probe: probeFor(part, { target, port, send }),
  }));
}

interface ProbedTarget {
  readonly target: Target;
  readonly port: number;
  readonly send: ProxyVersion | undefined;
}

function probeFor(part: ReadySpec, { target, port, send }: ProbedTarget): NamedProbe {
  switch (part.kind) {
    case "tcp":
      return tcpProbe(port);
    case "protocol":
      return protocolProbe(port, part.protocol, send);
    case "banner":
      return bannerProbe(port, part.banner, send);
    case "http":
      return httpProbe(port, part, send);
    case "log":
      return logProbe(target, part.pattern);
    case "healthy":
      return healthyProbe(target);
  }
}
