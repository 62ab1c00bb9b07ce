import type Dockerode from "dockerode";
import { graceOf, runs } from "./podman.ts";

/** A network of a container. A stopped container has no addresses. */
export interface ContainerNetwork {
  readonly name: string;
  readonly id: string;
  readonly ipv4?: string;
  /** Never link-local: such an address needs the name of an interface. */
  readonly ipv6?: string;
  /** The address of the host in this network. */
  readonly gateway?: string;
}

/** Another container that a container needs while it runs. */
export interface ContainerLink {
  readonly by: "network" | "IPC namespace" | "PID namespace" | "volumes";
  /** Id or name. */
  readonly to: string;
}

/** A folder or file mounted into a container. */
export interface ContainerMount {
  /** Path on the engine's machine. */
  readonly source: string;
  readonly destination: string;
}

/** The used part of an inspected container. All else, above all its environment variables, is dropped. */
export interface ContainerFacts {
  readonly id: string;
  readonly name: string;
  /** The image reference with which the container was created. */
  readonly image: string;
  /** PID of its main process on the engine's machine; 0 while it does not run. */
  readonly pid: number;
  readonly isRunning: boolean;
  readonly isPaused: boolean;
  /** Stopped, and about to be started by its restart policy. */
  readonly isRestarting: boolean;
  readonly createdAt: string;
  readonly startedAt: string;
  /** End of its last run; in the year 1 if it never ran. */
  readonly finishedAt: string;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly health?: "starting" | "healthy" | "unhealthy";
  readonly networkMode: string;
  /** The id of the container whose network it uses: `network_mode: service:…` in compose. */
  readonly networkOf?: string;
  readonly networks: readonly ContainerNetwork[];
  /** Its published ports on the engine's machine. */
  readonly publishedPorts: readonly number[];
  /** Ports that it publishes when it runs. */
  readonly bindings: readonly PortBinding[];
  /** Containers whose namespaces or volumes it uses. */
  readonly links: readonly ContainerLink[];
  readonly mounts: readonly ContainerMount[];
  /** Writable layer of its file system on the engine's machine; absent if the storage driver has none. */
  readonly upperDir?: string;
  /** Running exec sessions, including a running health check. */
  readonly execIds: readonly string[];
  readonly hasHealthcheck: boolean;
  /** Timeout of its health check in milliseconds; absent if it has none. */
  readonly healthTimeoutMs?: number;
  /** Whether the engine removes it and its anonymous volumes when it stops: `docker run --rm`. */
  readonly isAutoRemoved: boolean;
  readonly hasTty: boolean;
  readonly restartPolicy: string;
  /** Seconds from stop signal to SIGKILL; absent if the container does not set them. */
  readonly stopTimeoutS?: number;
  readonly project?: string;
  readonly composeService?: string;
  /** Its `depends_on` in compose. */
  readonly dependsOn: readonly ComposeDependency[];
}

/** A port of a container with its published port on the engine's machine, 0 if the engine chooses one. */
export interface PortBinding {
  readonly protocol: string;
  readonly target: number;
  readonly published: number;
}

/** An entry of a list of containers. */
export interface ListedContainer {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Unix time in seconds. */
  readonly created: number;
}

export const conditions = ["service_started", "service_healthy", "service_completed_successfully"] as const;
/** When a dependency is met, as in compose. */
export type Condition = (typeof conditions)[number];

export interface ComposeDependency {
  readonly service: string;
  readonly condition: Condition;
}

export const projectLabel = "com.docker.compose.project";
export const serviceLabel = "com.docker.compose.service";
const dependsOnLabel = "com.docker.compose.depends_on";

/** The engine's default for a health check without a timeout. */
const DEFAULT_HEALTH_TIMEOUT_MS = 30_000;
const MS_IN_NS = 1e6;

/** Returns the facts in an answer of `GET /containers/{id}/json`. */
export function factsOf(info: Dockerode.ContainerInspectInfo, isPodman: boolean): ContainerFacts {
  const { State: state, Config: config, HostConfig: host } = info;
  const health = healthOf(state.Health?.Status);
  const labels = config.Labels ?? {};
  const project = labels[projectLabel];
  const composeService = labels[serviceLabel];
  const networkMode = host.NetworkMode ?? "default";
  const networkOf = /^container:(.+)/.exec(networkMode)?.[1];
  const upperDir = upperDirOf(info.GraphDriver?.Data);
  // The type package lacks this field. The engine sends it only if it is set.
  const stopTimeoutS = graceOf("StopTimeout" in config ? config.StopTimeout : undefined, isPodman);
  return {
    id: info.Id,
    name: info.Name.replace(/^\//, ""),
    image: config.Image,
    pid: state.Pid,
    isRunning: runs(state) && !state.Restarting,
    isPaused: state.Paused,
    isRestarting: state.Restarting,
    createdAt: info.Created,
    startedAt: state.StartedAt,
    finishedAt: state.FinishedAt,
    exitCode: state.ExitCode,
    oomKilled: state.OOMKilled,
    networkMode,
    networks: networksOf(info),
    publishedPorts: publishedPortsOf(info),
    bindings: bindingsOf(host),
    hasHealthcheck: health !== undefined || hasTest(config.Healthcheck?.Test),
    links: linksOf(host),
    mounts: (info.Mounts ?? []).map(({ Source, Destination }) => ({ source: Source, destination: Destination })),
    execIds: info.ExecIDs ?? [],
    isAutoRemoved: host.AutoRemove ?? false,
    hasTty: config.Tty ?? false,
    restartPolicy: host.RestartPolicy?.Name ?? "no",
    dependsOn: dependenciesIn(labels[dependsOnLabel] ?? ""),
    ...(networkOf !== undefined && { networkOf }),
    ...(health !== undefined && { health, healthTimeoutMs: healthTimeoutOf(config.Healthcheck?.Timeout) }),
    ...(upperDir !== undefined && { upperDir }),
    ...(stopTimeoutS !== undefined && { stopTimeoutS }),
    ...(project !== undefined && { project }),
    ...(composeService !== undefined && { composeService }),
  };
}

/** Whether compose starts `container` after `other`, and expects `other` to run meanwhile. */
export function dependsOn(
  container: Pick<ContainerFacts, "project" | "dependsOn">,
  other: Pick<ContainerFacts, "project" | "composeService">,
): boolean {
  if (container.project === undefined || container.project !== other.project) return false;
  return container.dependsOn.some(
    ({ service, condition }) => service === other.composeService && condition !== "service_completed_successfully",
  );
}

function networksOf(info: Dockerode.ContainerInspectInfo): ContainerNetwork[] {
  return Object.entries(info.NetworkSettings.Networks ?? {}).map(([name, network]) => {
    const ipv6 = routable(network.GlobalIPv6Address);
    const gateway = network.Gateway || routable(network.IPv6Gateway);
    return {
      name,
      id: network.NetworkID,
      ...(network.IPAddress && { ipv4: network.IPAddress }),
      ...(ipv6 && { ipv6 }),
      ...(gateway && { gateway }),
    };
  });
}

/** Podman returns null for a port that is not published. */
function publishedPortsOf(info: Dockerode.ContainerInspectInfo): number[] {
  const bindings = Object.values(info.NetworkSettings.Ports ?? {}).flatMap((ports) => ports ?? []);
  return [...new Set(bindings.map(({ HostPort }) => Number(HostPort)))];
}

function bindingsOf({ PortBindings }: Dockerode.HostConfig): PortBinding[] {
  const entries: [string, { HostPort?: string }[] | null][] = Object.entries(PortBindings ?? {});
  return entries.flatMap(([key, bindings]) => {
    const [port, protocol = "tcp"] = key.split("/");
    return (bindings ?? []).map(({ HostPort }) => ({
      protocol,
      target: Number(port),
      published: Number(HostPort ?? 0),
    }));
  });
}

/** `["NONE"]` disables the health check of the image. */
function hasTest(test: readonly string[] | null | undefined): boolean {
  return test != null && test.length > 0 && test[0] !== "NONE";
}

function linksOf({ NetworkMode, IpcMode, PidMode, VolumesFrom }: Dockerode.HostConfig): ContainerLink[] {
  const shared = (by: ContainerLink["by"], mode: string | undefined): ContainerLink[] => {
    const to = /^container:(.+)/.exec(mode ?? "")?.[1];
    return to === undefined ? [] : [{ by, to }];
  };
  // `name`, `name:ro`
  const volumes = (VolumesFrom ?? []).map((from: string) => ({
    by: "volumes" as const,
    to: from.replace(/:(ro|rw|z|Z)$/, ""),
  }));
  return [
    ...shared("network", NetworkMode),
    ...shared("IPC namespace", IpcMode),
    ...shared("PID namespace", PidMode),
    ...volumes,
  ];
}

/** The type package describes only one storage driver. */
function upperDirOf(data: object | null | undefined): string | undefined {
  return data && "UpperDir" in data && typeof data.UpperDir === "string" ? data.UpperDir : undefined;
}

function healthTimeoutOf(ns: number | undefined): number {
  return ns === undefined || ns === 0 ? DEFAULT_HEALTH_TIMEOUT_MS : ns / MS_IN_NS;
}

/** Returns undefined for a link-local address (fe80::/10) and for an empty one. */
function routable(ipv6: string | undefined): string | undefined {
  return ipv6 && !/^fe[89ab]/i.test(ipv6) ? ipv6 : undefined;
}

/** Parses `db:service_healthy:false,cache:service_started:true`: service, condition, and `restart`, which is not used. */
function dependenciesIn(label: string): ComposeDependency[] {
  const parts = label.split(",").filter((part) => part !== "");
  return parts.map((part) => {
    const [service = "", condition] = part.split(":");
    return { service, condition: conditions.find((one) => one === condition) ?? "service_started" };
  });
}

function healthOf(status: string | undefined): ContainerFacts["health"] {
  return status === "starting" || status === "healthy" || status === "unhealthy" ? status : undefined;
}
