/** Creates the handlers of a service's ports. */
import type { Activator } from "../activation/activator.ts";
import { Semaphore } from "../async/semaphore.ts";
import { type InetdSpec, PROCESS_STOP_GRACE_MS, type Service, type ServicePort } from "../config/config.ts";
import { describeTarget } from "../config/describe-target.ts";
import type { DataPlane } from "../dataplane/data-plane.ts";
import { nodeRelayer, type Relayer } from "../net/relay.ts";
import type { SharedAdmission } from "../proxy/admission/admission-stage.ts";
import type { DataPorts } from "../proxy/data-ports.ts";
import { Builtin } from "../proxy/handlers/builtin.ts";
import { Forward } from "../proxy/handlers/forward.ts";
import type { Handler } from "../proxy/handlers/handler.ts";
import { InetdNowait } from "../proxy/handlers/inetd-nowait.ts";
import { InetdWait } from "../proxy/handlers/inetd-wait.ts";
import { Sensor } from "../proxy/handlers/sensor.ts";
import { TargetHandler } from "../proxy/handlers/target.ts";
import { protocolOf } from "../proxy/protocols/protocols.ts";
import type { Program } from "../targets/exec-wrapper.ts";
import { Workers } from "../targets/inetd-workers.ts";
import { Launcher } from "../targets/spawn.ts";
import { accountOf } from "../targets/user-account.ts";
import type { Observer } from "../telemetry/observer.ts";
import { environmentOf, type HostEnvironment } from "./target-factory.ts";

/** Deadline for the first byte of a client, for `wake_on: first_byte`. */
const SILENCE_MS = 60_000;

export interface InetdEnvironment extends HostEnvironment {
  /** Workers with running programs, which end with wakeport. */
  readonly busy: Set<Workers>;
}

export interface HandlerContext {
  readonly sharedAdmission: SharedAdmission;
  readonly host: InetdEnvironment;
  readonly observer: Observer;
  readonly dataPlane: DataPlane;
  /** Undefined if the service has no data ports. */
  readonly dataPorts?: DataPorts | undefined;
}

/** Returns the handler of a service's port. */
export type HandlerOf = (port: ServicePort) => Handler;

/**
 * @param activator of the service's target; undefined if the service wakes no target
 * @throws TargetError if a user or group does not exist
 */
export function handlersOf(
  service: Service,
  activator: Activator | undefined,
  { sharedAdmission, host, observer, dataPlane, dataPorts }: HandlerContext,
): HandlerOf {
  const { target, releasePace, startTimeoutMs } = service;
  const { send } = service.proxyProtocol;
  const relayer = relayerOf(service, dataPlane);
  switch (target.kind) {
    case "forward":
      return always(new Forward({ host: target.host, port: target.port, timeoutMs: startTimeoutMs, relayer, send }));
    case "builtin":
      return always(new Builtin(target.builtin));
    case "inetd":
      return inetdHandlers(service, target, relayer, { host, observer });
    case "sensor": {
      const { bans, lingering, clock } = sharedAdmission;
      const closeOptions = { banner: service.banner.deny, how: service.onDeny };
      const { unixTime } = clock;
      const { ipv6Prefix } = service.limits;
      const sensor = { service: service.name, banMs: target.banMs, ipv6Prefix, bans, lingering, closeOptions };
      return always(new Sensor({ ...sensor, unixTime, observer }));
    }
    default: {
      if (activator === undefined) throw new Error(`service "${service.name}" has no activator`);
      const silenceMs = service.wakeOn === "first_byte" ? SILENCE_MS : undefined;
      // The ports of a service share its pace.
      const pace = new Semaphore(releasePace);
      const shared = {
        service: service.name,
        activator,
        pace,
        protocol: protocolOf(service, { slots: sharedAdmission.slots, observer }),
        relayer,
        dataPorts,
        send,
        silenceMs,
      };
      return (port) => new TargetHandler({ ...shared, targetPort: port.target });
    }
  }
}

/** Returns how the connections of a service are relayed. */
export function relayerOf({ relay }: Service, dataPlane: DataPlane): Relayer {
  return relay === "node" ? nodeRelayer : dataPlane;
}

function inetdHandlers(
  { name, target, stopGraceMs: graceMs = PROCESS_STOP_GRACE_MS }: Service,
  spec: InetdSpec,
  relayer: Relayer,
  { host, observer }: Pick<HandlerContext, "host" | "observer">,
): HandlerOf {
  const launcher = new Launcher(programOf(spec, host));
  const onLine = (line: string): void => observer.output(name, line);
  const endWithWakeport = spec.wait;
  const newWorkers = (): Workers => new Workers({ launcher, graceMs, onLine, busy: host.busy, endWithWakeport });
  if (!spec.wait) return always(new InetdNowait(newWorkers(), spec.stderr));
  const onFailure = (message: string): void => observer.warning("inetd.listener", message);
  // Each port has its own listener, and so its own program.
  return () => new InetdWait({ name: describeTarget(target), workers: newWorkers(), relayer, onFailure });
}

function programOf(spec: InetdSpec, host: HostEnvironment): Program {
  const { command, argv0, cwd, umask, nice, rlimits } = spec;
  const account = accountOf(spec, host);
  return {
    command,
    env: environmentOf(spec, host.env, account?.home),
    sharesSession: !spec.wait,
    ...(account !== undefined && { account }),
    ...(argv0 !== undefined && { argv0 }),
    ...(cwd !== undefined && { cwd }),
    // An inherited umask is not set, because that takes a shell for each client.
    ...(umask !== undefined && umask !== host.umask && { umask }),
    ...(nice !== undefined && { nice }),
    ...(rlimits !== undefined && { limits: rlimits }),
  };
}

function always(handler: Handler): HandlerOf {
  return () => handler;
}
