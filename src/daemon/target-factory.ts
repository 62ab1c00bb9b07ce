import type { Target } from "../activation/target.ts";
import {
  type ContainerReference,
  PROCESS_STOP_GRACE_MS,
  type ProcessSpec,
  type Service,
  type WokenService,
} from "../config/config.ts";
import { describeReference, describeTarget } from "../config/describe-target.ts";
import { ContainerTarget } from "../targets/container.ts";
import type { ContainerOptions } from "../targets/container-options.ts";
import { CreatedContainer } from "../targets/created-container.ts";
import { ProcessTarget } from "../targets/process.ts";
import { accountOf, type OwnAccount } from "../targets/user-account.ts";
import type { Observer } from "../telemetry/observer.ts";
import type { EngineParts } from "./engine-parts.ts";
import { graceOf, networkOf, requiredLabelOf } from "./target-settings.ts";

/** The environment of wakeport's own process. */
export interface HostEnvironment extends OwnAccount {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The umask that started programs inherit; undefined if unknown. */
  readonly umask?: number;
}

/** @throws TargetError if the user or group of the service's program does not exist */
export function checkAccount({ target }: Service, host: HostEnvironment): void {
  if (target.kind === "process" || target.kind === "inetd") accountOf(target, host);
}

/** Returns the same key for services that share a target. A process with other settings is another target. */
export function keyOf({ name, target }: WokenService): string {
  if (target.kind === "container") return containerKey(target.reference);
  return target.kind === "created" ? `created ${name}` : `process ${name} ${JSON.stringify(target)}`;
}

export function containerKey(reference: ContainerReference): string {
  return `container ${JSON.stringify(reference)}`;
}

/**
 * Creates the target of services with the same key.
 *
 * @param taken names of other targets; dependencies are identified by these names, so that each must be unique
 * @throws TargetError if a user or group does not exist
 */
export function createTarget(
  services: readonly WokenService[],
  engine: EngineParts | undefined,
  host: HostEnvironment,
  observer: Observer,
  taken: ReadonlySet<string> = new Set(),
): Target {
  const [{ target: spec, name }] = services as readonly [WokenService];
  const graceMs = graceOf(services);
  if (spec.kind === "process")
    return createProcess(name, spec, graceMs ?? PROCESS_STOP_GRACE_MS, host, observer, taken);
  if (engine === undefined) throw new Error("a container target needs an engine");
  const names = services.map((service) => service.name).join(", ");
  const onWarning: ContainerOptions["onWarning"] = (event, message) => observer.warning(event, `${names}: ${message}`);
  const common = {
    name: describeTarget(spec),
    isNamed: true,
    requiredLabel: requiredLabelOf(services),
    network: networkOf(services),
    graceMs,
    onWarning,
    ...engine,
  };
  if (spec.kind === "created") return new CreatedContainer({ ...common, service: spec.service, spec });
  return new ContainerTarget({ ...common, reference: spec.reference });
}

/** Creates the target of a container that no service names. wakeport does not connect to it. */
export function createUnnamedTarget(
  reference: ContainerReference,
  engine: EngineParts | undefined,
  observer: Observer,
): ContainerTarget {
  if (engine === undefined) throw new Error("a container target needs an engine");
  return new ContainerTarget({
    ...engine,
    reference,
    name: describeReference(reference),
    isNamed: false,
    requiredLabel: undefined,
    network: undefined,
    graceMs: undefined,
    onWarning: (event, message) => observer.warning(event, message),
  });
}

function createProcess(
  service: string,
  spec: ProcessSpec,
  graceMs: number,
  host: HostEnvironment,
  observer: Observer,
  taken: ReadonlySet<string>,
): ProcessTarget {
  const name = describeTarget({ kind: "process", ...spec });
  const { user, group, command, listen, cwd } = spec;
  const account = accountOf({ ...(user !== undefined && { user }), ...(group !== undefined && { group }) }, host);
  return new ProcessTarget({
    name: taken.has(name) ? `${name} (${service})` : name,
    command,
    listen,
    graceMs,
    ...(spec.isHandedListener && { listenerName: service }),
    env: environmentOf(spec, host.env, account?.home),
    onLine: (line) => observer.output(service, line),
    ...(cwd !== undefined && { cwd }),
    ...(account !== undefined && { account }),
  });
}

/** Returns the environment of a program: its own variables, and PATH, LANG, TZ and HOME of wakeport's. */
export function environmentOf(
  { env }: Pick<ProcessSpec, "env">,
  own: Readonly<Record<string, string | undefined>>,
  home: string | undefined,
): Record<string, string> {
  const { PATH, LANG, TZ, HOME } = own;
  const inherited = Object.entries({ PATH, LANG, TZ, HOME: home ?? HOME });
  return {
    ...Object.fromEntries(inherited.filter((entry): entry is [string, string] => entry[1] !== undefined)),
    ...env,
  };
}
