/** The configuration after all checks, with defaults filled in. Durations are in milliseconds. */

import type { SleepAction } from "../activation/target.ts";
import type { Names } from "../net/hostname.ts";
import type { Ip, Network } from "../net/ip.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";
import type { AdmissionPolicy } from "./admission-policy.ts";
import type { PortRange } from "./values/ports.ts";
import type { ProgramLimits } from "./values/process-limits.ts";

export interface Config {
  /** The name of the file, for messages. */
  readonly source: string;
  readonly services: readonly Service[];
  /** Applies to containers without a service that a container of a service depends on. */
  readonly dependencyPolicy: {
    readonly idleTimeoutMs: number;
    readonly minUptimeMs: number;
    readonly startTimeoutMs: number;
    readonly directTrafficBytes?: number;
    readonly sleep: SleepAction;
    readonly thenStop?: { readonly afterMs: number; readonly action: "stop" | "kill" };
  };
  readonly admin: { readonly host: string; readonly port: number };
  /** Host names and patterns of requests to the admin server, in addition to the built-in ones. */
  readonly adminAllowedHosts: readonly string[];
  readonly docker: { readonly host?: string; readonly project?: string };
  /** How labels define services. Absent: they define none. */
  readonly discover?: {
    readonly scope: "project" | "all";
    /** The section `defaults` as it is written. */
    readonly defaults: unknown;
    /** The banners of `defaults`. Their files are read with the configuration. */
    readonly banner: Banners;
    readonly claims: LabelClaims;
  };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat; readonly userId: boolean };
  readonly shutdown: { readonly targets: "stop" | "leave"; readonly drainMs: number };
}

/** Ports and names that labels may claim. */
export interface LabelClaims {
  readonly ports: readonly PortRange[];
  /** Patterns. Absent: each name that neither covers a name of the file nor is covered by one. */
  readonly names?: readonly string[];
}

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";
export type LogFormat = "auto" | "json" | "pretty" | "xinetd";

/** The time from the stop signal to SIGKILL of a process without `stopGraceMs`, in milliseconds. */
export const PROCESS_STOP_GRACE_MS = 10_000;

/** An entry of `services`. */
export interface Service {
  readonly name: string;
  /** Empty: other services wake this one. */
  readonly ports: readonly ServicePort[];
  /** TCP ports for data connections of connected clients. The target listens on the same ports. */
  readonly data: readonly ServicePort[];
  /** Names that clients of its TCP ports must request. Absent: no condition. */
  readonly names?: Names;
  readonly target: TargetSpec;
  readonly ready: readonly ReadySpec[];
  readonly idleTimeoutMs: number;
  readonly sleep: SleepAction;
  /** The second step, after a pause. */
  readonly thenStop?: { readonly afterMs: number; readonly action: "stop" | "kill" };
  readonly minUptimeMs: number;
  readonly startTimeoutMs: number;
  /** Bytes of direct traffic in one idle timeout that do not keep the target awake. Absent: any number. */
  readonly directTrafficBytes?: number;
  /** Absent: that of the container, or 10 s for a process. */
  readonly stopGraceMs?: number;
  readonly releasePace: number;
  /** How the bytes of its clients are forwarded. Rules of the kernel also apply to UDP, the rest to TCP only. */
  readonly relay: RelayMode;
  /** The protocol of its clients. */
  readonly protocol: ProtocolName;
  /** What clients receive while the target starts. */
  readonly hold: HoldSpec;
  readonly ftp: FtpPolicy;
  readonly proxyProtocol: ProxyProtocolPolicy;
  /** What wakes the target. */
  readonly wakeOn: "connect" | "first_byte";
  readonly access: AdmissionPolicy["access"];
  readonly limits: AdmissionPolicy["limits"];
  /** Networks of health checks: their connections are accepted and closed. */
  readonly monitors: readonly Network[];
  readonly banner: Banners;
  /** How the connection of a rejected client ends. */
  readonly onDeny: "reset" | "close";
  readonly udp: UdpPolicy;
  /** Names of services that are up while this one is awake. */
  readonly dependsOn: readonly string[];
  /** Names of services that wake this one. */
  readonly wakesWith: readonly string[];
  /** Services of one group are awake together. */
  readonly group?: string;
  readonly enabled: boolean;
}

/** Texts for all clients, for accepted clients, and for rejected clients. Absent: none. */
export interface Banners {
  readonly connect?: Buffer;
  readonly accept?: Buffer;
  readonly deny?: Buffer;
}

/** A service whose target wakeport starts. */
export type WokenService = Service & { readonly target: WokenSpec };

/** Kinds of targets that wakeport starts for their clients. */
export const wokenKinds: ReadonlySet<TargetSpec["kind"]> = new Set(["container", "created", "process"]);

export function isWoken(service: Service): service is WokenService {
  return wokenKinds.has(service.target.kind);
}

/** Whether wakeport forwards bytes between clients of this service and its target. */
export function isRelayed({ enabled, ports, target }: Service): boolean {
  const isServed = target.kind === "forward" || (target.kind === "inetd" && target.wait) || wokenKinds.has(target.kind);
  return enabled && isServed && ports.some(({ protocol }) => protocol !== "udp");
}

/** Whether local programs are started for clients of this service. */
export function startsPrograms({ enabled, target }: Service): boolean {
  return enabled && (target.kind === "process" || target.kind === "inetd");
}

/** A listen port with its target port, or a range of ports with a range of the same length. */
export interface ServicePort {
  readonly address?: string;
  readonly listen: number;
  readonly target: number;
  /** Number of ports. Absent: one. */
  readonly count?: number;
  /** Absent: TCP. */
  readonly protocol?: "udp";
}

/** Headers of the PROXY protocol. */
export interface ProxyProtocolPolicy {
  /** Version of the header for the target. Absent: no header. */
  readonly send?: ProxyVersion;
  /** Networks of proxies, which must send a header. */
  readonly receive: readonly Network[];
}

export interface FtpPolicy {
  /** The IPv4 address in replies to PASV. Absent: the address that the client connected to. */
  readonly publicAddress?: Ip;
}

export interface UdpPolicy {
  /** Time without datagrams after which a flow ends, in milliseconds. */
  readonly flowTimeoutMs: number;
  /** Limit of simultaneous flows. */
  readonly flows: number;
  /** Bytes that are held for each flow while the target starts. */
  readonly heldBytes: number;
}

/** A container by name, or the first of a compose service. Without a project: that of wakeport. */
export type ContainerReference = { readonly name: string } | { readonly service: string; readonly project?: string };

export type TargetSpec = WokenSpec | DirectSpec;

/** A target that is started for clients and stopped when idle. */
export type WokenSpec =
  | {
      readonly kind: "container";
      readonly reference: ContainerReference;
      readonly network: string;
      /** Labels of the container define the service. */
      readonly byLabels?: true;
    }
  | ({ readonly kind: "created"; readonly service: string; readonly network: string } & CreatedSpec)
  | ({ readonly kind: "process" } & ProcessSpec);

/** A target that needs no start. */
export type DirectSpec =
  | { readonly kind: "forward"; readonly host: string; readonly port: number }
  | { readonly kind: "builtin"; readonly builtin: BuiltinName }
  | { readonly kind: "sensor"; readonly banMs: number }
  | ({ readonly kind: "inetd" } & InetdSpec);

export const protocolNames = ["raw", "ftp", "smtp", "ssh", "mysql", "redis", "postgres", "http"] as const;
export type ProtocolName = (typeof protocolNames)[number];

/**
 * `splice`: by the data plane; `node`: by Node's streams; `kernel`: by rules of the kernel. `auto`: containers as `kernel`
 * if that is permitted. If `kernel` or `splice` is not possible, the next of `kernel`, `splice`, `node` applies.
 */
export const relayModes = ["auto", "splice", "node", "kernel"] as const;
export type RelayMode = (typeof relayModes)[number];

/** Protocols with a probe for readiness. */
export type ProbedProtocol = Exclude<ProtocolName, "raw" | "http">;

/** Protocols in which the server sends first. */
export const serverFirst: ReadonlySet<ProtocolName> = new Set<ProtocolName>(["ftp", "smtp", "ssh", "mysql"]);

/** What clients receive while they wait for a target. */
export type HoldSpec =
  /** A reply in their protocol, or nothing. */
  | { readonly kind: "auto" | "silent" }
  /** A web page with the last output lines of the target. */
  | { readonly kind: "page"; readonly logLines: number };
/** Protocols in which wakeport replaces the addresses of data connections. */
export const rewritesDataAddresses: ReadonlySet<string> = new Set(["ftp"]);

/** Small services of RFC 862 to 868. */
export const builtinNames = ["echo", "discard", "daytime", "time", "chargen"] as const;
export type BuiltinName = (typeof builtinNames)[number];

/** A container that wakeport creates for one service. */
export interface CreatedSpec {
  /** With tag or digest. */
  readonly image: string;
  /** Absent: that of the image. */
  readonly command?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** In the syntax of `docker run --volume`. A path alone is an anonymous volume. */
  readonly volumes: readonly string[];
  /** Empty: the network of wakeport, or on the host the default network of Docker. */
  readonly networks: readonly string[];
  readonly user?: string;
  readonly memoryBytes?: number;
  readonly cpus?: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether the container is removed when it is stopped. */
  readonly remove: boolean;
}

export interface ProcessSpec {
  readonly command: readonly [string, ...string[]];
  readonly listen: { readonly host: string; readonly port?: number };
  readonly cwd?: string;
  readonly env: Readonly<Record<string, string>>;
  /** Names or numbers. */
  readonly user?: string | number;
  readonly group?: string | number;
  /** The process inherits its listener. Then `listen` without a port is any free port. */
  readonly isHandedListener?: true;
}

/** A program that is started for each client, or for all clients of a listener. */
export interface InetdSpec {
  readonly command: readonly [string, ...string[]];
  readonly argv0?: string;
  /** Names or numbers. */
  readonly user?: string | number;
  readonly group?: string | number;
  readonly groups?: "none" | "init" | readonly (string | number)[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly umask?: number;
  readonly nice?: number;
  readonly rlimits?: ProgramLimits;
  readonly stderr: "log" | "socket";
  /** Whether the program inherits the listener. */
  readonly wait: boolean;
}

export type ReadySpec =
  | { readonly kind: "tcp" }
  | { readonly kind: "protocol"; readonly protocol: ProbedProtocol }
  | { readonly kind: "healthy" }
  | { readonly kind: "banner"; readonly banner: string }
  | {
      readonly kind: "http";
      readonly path: string;
      readonly status: StatusRange;
      /** Headers of the request in addition to the standard ones. */
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** The source of a valid JavaScript regular expression. */
  | { readonly kind: "log"; readonly pattern: string };

/** HTTP statuses, both ends included. */
export interface StatusRange {
  readonly from: number;
  readonly to: number;
}
