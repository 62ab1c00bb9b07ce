import type Dockerode from "dockerode";
import { graceOf, runs } from "./podman.ts";

/** One of a container's networks, as far as it is known now: a stopped container has no addresses. */
export interface ContainerNetwork {
  readonly name: string;
  readonly id: string;
  readonly ipv4?: string;
  /** Never a link-local one: that means nothing without the interface it is on. */
  readonly ipv6?: string;
  /** The host, as it is seen from there. */
  readonly gateway?: string;
}

/** What wakeport keeps of an inspected container. The rest, its environment above all, is dropped at this boundary. */
export interface ContainerFacts {
  readonly id: string;
  readonly name: string;
  readonly isRunning: boolean;
  readonly isPaused: boolean;
  /** Down, and about to be started again by its restart policy. */
  readonly isRestarting: boolean;
  readonly createdAt: string;
  readonly startedAt: string;
  /** When its last life ended; in the year 1 when it had none. */
  readonly finishedAt: string;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly health?: "starting" | "healthy" | "unhealthy";
  readonly networkMode: string;
  /** The id of the container whose network it uses instead of one of its own: `network_mode: service:…` in compose. */
  readonly networkOf?: string;
  readonly networks: readonly ContainerNetwork[];
  readonly hasTty: boolean;
  readonly restartPolicy: string;
  /** Seconds from stop signal to SIGKILL; absent when the container does not set it. */
  readonly stopTimeoutS?: number;
  readonly project?: string;
  readonly composeService?: string;
  /** What compose says that it depends on. */
  readonly dependsOn: readonly ComposeDependency[];
}

/** A container as a list of them tells it. */
export interface ListedContainer {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As Unix time in seconds. */
  readonly created: number;
}

export const conditions = ["service_started", "service_healthy", "service_completed_successfully"] as const;
/** When a dependency is there, in the words of compose. */
export type Condition = (typeof conditions)[number];

export interface ComposeDependency {
  readonly service: string;
  readonly condition: Condition;
}

export const projectLabel = "com.docker.compose.project";
export const serviceLabel = "com.docker.compose.service";
const dependsOnLabel = "com.docker.compose.depends_on";

/** Takes the facts out of an answer of `GET /containers/{id}/json`. */
export function factsOf(info: Dockerode.ContainerInspectInfo, isPodman: boolean): ContainerFacts {
  const { State: state, Config: config, HostConfig: host } = info;
  const health = healthOf(state.Health?.Status);
  const labels = config.Labels ?? {};
  const project = labels[projectLabel];
  const composeService = labels[serviceLabel];
  const networkMode = host.NetworkMode ?? "default";
  const networkOf = /^container:(.+)/.exec(networkMode)?.[1];
  // The type package does not know this field; the engine sends it where it is set.
  const stopTimeoutS = graceOf("StopTimeout" in config ? config.StopTimeout : undefined, isPodman);
  return {
    id: info.Id,
    name: info.Name.replace(/^\//, ""),
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
    hasTty: config.Tty ?? false,
    restartPolicy: host.RestartPolicy?.Name ?? "no",
    dependsOn: dependenciesIn(labels[dependsOnLabel] ?? ""),
    ...(networkOf !== undefined && { networkOf }),
    ...(health !== undefined && { health }),
    ...(stopTimeoutS !== undefined && { stopTimeoutS }),
    ...(project !== undefined && { project }),
    ...(composeService !== undefined && { composeService }),
  };
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

/** Not fe80::/10. @param ipv6 absent or empty where there is none */
function routable(ipv6: string | undefined): string | undefined {
  return ipv6 && !/^fe[89ab]/i.test(ipv6) ? ipv6 : undefined;
}

/** `db:service_healthy:false,cache:service_started:true`: service, condition, and whether a restart of it restarts this one. */
function dependenciesIn(label: string): ComposeDependency[] {
  const parts = label.split(",").filter((part) => part !== "");
  return parts.map((part) => {
    const [service = "", said] = part.split(":");
    return { service, condition: conditions.find((one) => one === said) ?? "service_started" };
  });
}

function healthOf(status: string | undefined): ContainerFacts["health"] {
  return status === "starting" || status === "healthy" || status === "unhealthy" ? status : undefined;
}
