/** A configuration as the rest of the program sees it: complete, checked, durations in milliseconds. Data only. */

import type { SleepAction } from "../activation/target.ts";
import type { Names } from "../net/hostname.ts";
import type { Ip, Network } from "../net/ip.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";
import type { AdmissionPolicy } from "./admission-policy.ts";
import type { PortRange } from "./values/ports.ts";
import type { ProgramLimits } from "./values/process-limits.ts";

export interface Config {
  /** The file it came from, for people. */
  readonly source: string;
  readonly services: readonly Service[];
  /** How containers are put to sleep that no service names, but that a container of a service depends on. */
  readonly dependencyPolicy: {
    readonly idleTimeoutMs: number;
    readonly minUptimeMs: number;
    readonly startTimeoutMs: number;
    readonly directTrafficBytes?: number;
    readonly sleep: SleepAction;
    readonly thenStop?: { readonly afterMs: number; readonly action: "stop" | "kill" };
  };
  readonly admin: { readonly host: string; readonly port: number };
  /** Host names and patterns that requests to the admin server may have in addition to the built-in ones. */
  readonly adminAllowedHosts: readonly string[];
  readonly docker: { readonly host?: string; readonly project?: string };
  /** Whose labels make services, and the section `defaults` as it is written, for them; absent: nobody's. */
  readonly discover?: {
    readonly scope: "project" | "all";
    readonly defaults: unknown;
    /** Those of the defaults, which may be files: they are read with the configuration. */
    readonly banner: Banners;
    readonly claims: LabelClaims;
  };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat; readonly userId: boolean };
  readonly shutdown: { readonly targets: "stop" | "leave"; readonly drainMs: number };
}

/** Ports and names that labels may claim. */
export interface LabelClaims {
  readonly ports: readonly PortRange[];
  /** Patterns; absent: each name that neither covers a name of the file nor is covered by one. */
  readonly names?: readonly string[];
}

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";
export type LogFormat = "auto" | "json" | "pretty" | "xinetd";

/** A named entry of `services`. */
export interface Service {
  readonly name: string;
  /** Empty for a service that is woken only with others. */
  readonly ports: readonly ServicePort[];
  /** Where clients that are being served may come once more, each port to the same one of the target. TCP. */
  readonly data: readonly ServicePort[];
  /** Whom clients of its TCP ports must ask for; absent: they need not. */
  readonly names?: Names;
  readonly target: TargetSpec;
  readonly ready: readonly ReadySpec[];
  readonly idleTimeoutMs: number;
  readonly sleep: SleepAction;
  /** The second step of a ladder, so long after the first, which is a pause. */
  readonly thenStop?: { readonly afterMs: number; readonly action: "stop" | "kill" };
  readonly minUptimeMs: number;
  readonly startTimeoutMs: number;
  /** Bytes of direct traffic in one idle timeout that do not keep the target awake; absent: any number. */
  readonly directTrafficBytes?: number;
  /** Absent: the container's own, or 10 s for a process. */
  readonly stopGraceMs?: number;
  readonly releasePace: number;
  /** What its clients speak. */
  readonly protocol: ProtocolName;
  /** What they get while the target starts. */
  readonly hold: HoldSpec;
  readonly ftp: FtpPolicy;
  readonly proxyProtocol: ProxyProtocolPolicy;
  /** What it takes from a client to wake the target. */
  readonly wakeOn: "connect" | "first_byte";
  readonly access: AdmissionPolicy["access"];
  readonly limits: AdmissionPolicy["limits"];
  /** Whose connections are accepted and closed, and nothing else. */
  readonly monitors: readonly Network[];
  readonly banner: Banners;
  /** How the connection of a client ends that is refused. */
  readonly onDeny: "reset" | "close";
  /** What is kept for clients that send datagrams. */
  readonly udp: UdpPolicy;
  /** Names of services whose targets are up while this one is awake. */
  readonly dependsOn: readonly string[];
  /** Names of services; this one is awake while one of them is. */
  readonly wakesWith: readonly string[];
  /** Services of one group are awake together. */
  readonly group?: string;
  readonly enabled: boolean;
}

/** What clients are told: all of them, those that are let in, those that are refused. Absent: nothing. */
export interface Banners {
  readonly connect?: Buffer;
  readonly accept?: Buffer;
  readonly deny?: Buffer;
}

/** A service whose target is woken. */
export type WokenService = Service & { readonly target: WokenSpec };

/** The kinds of targets that are started for their clients. */
export const wokenKinds: ReadonlySet<TargetSpec["kind"]> = new Set(["container", "created", "process"]);

export function isWoken(service: Service): service is WokenService {
  return wokenKinds.has(service.target.kind);
}

/** Where wakeport listens: a port, or several in a row, each of which leads to the target's in the same place. */
export interface ServicePort {
  readonly address?: string;
  readonly listen: number;
  readonly target: number;
  /** How many; absent: one. */
  readonly count?: number;
  /** Absent: TCP. */
  readonly protocol?: "udp";
}

/** Headers that say for whom a proxy connects. */
export interface ProxyProtocolPolicy {
  /** Whether the target gets one; absent: no. */
  readonly send?: ProxyVersion;
  /** Who has to send one. */
  readonly receive: readonly Network[];
}

export interface FtpPolicy {
  /** What PASV tells clients, of IPv4; absent: the address that they connected to. */
  readonly publicAddress?: Ip;
}

export interface UdpPolicy {
  /** Silence after which a flow ends, in milliseconds. */
  readonly flowTimeoutMs: number;
  /** How many flows there are at a time. */
  readonly flows: number;
  /** Bytes that are held for each while the target starts. */
  readonly heldBytes: number;
}

/** Which container: by name, or the first of a compose service. Without a project: wakeport's own. */
export type ContainerReference = { readonly name: string } | { readonly service: string; readonly project?: string };

export type TargetSpec = WokenSpec | DirectSpec;

/** What is woken for clients, and put to sleep after them. */
export type WokenSpec =
  | {
      readonly kind: "container";
      readonly reference: ContainerReference;
      readonly network: string;
      /** Whether labels of the container define the service. */
      readonly byLabels?: true;
    }
  | ({ readonly kind: "created"; readonly service: string; readonly network: string } & CreatedSpec)
  | ({ readonly kind: "process" } & ProcessSpec);

/** What serves clients without being woken. */
export type DirectSpec =
  | { readonly kind: "forward"; readonly host: string; readonly port: number }
  | { readonly kind: "builtin"; readonly builtin: BuiltinName }
  | { readonly kind: "sensor"; readonly banMs: number }
  | ({ readonly kind: "inetd" } & InetdSpec);

/** What clients may speak. */
export const protocolNames = ["raw", "ftp", "smtp", "ssh", "mysql", "redis", "postgres", "http"] as const;
export type ProtocolName = (typeof protocolNames)[number];

/** Protocols in which a server shows by its answer that it is ready. */
export type ProbedProtocol = Exclude<ProtocolName, "raw" | "http">;

/** Those in which the server has the first word: from their clients nothing comes before it. */
export const serverFirst: ReadonlySet<ProtocolName> = new Set<ProtocolName>(["ftp", "smtp", "ssh", "mysql"]);

/** What clients get that wait for a target. */
export type HoldSpec =
  /** Whatever suits their protocol, nothing, or answers that tell to come again. */
  | { readonly kind: "auto" | "silent" }
  /** A page in the browser, with so many of the last lines that the target printed. */
  | { readonly kind: "page"; readonly logLines: number };
/** Those of which wakeport tells clients itself where their data ports are. */
export const tellsDataPorts: ReadonlySet<string> = new Set(["ftp"]);

/** The small services of RFC 862 to 868. */
export const builtinNames = ["echo", "discard", "daytime", "time", "chargen"] as const;
export type BuiltinName = (typeof builtinNames)[number];

/** A container that wakeport makes itself, one for each service that has it. */
export interface CreatedSpec {
  /** With its tag or digest. */
  readonly image: string;
  /** Absent: the image's own. */
  readonly command?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** As `docker run --volume` has them; a path alone is an anonymous one. */
  readonly volumes: readonly string[];
  /** Empty: the one that wakeport is in, or on the host the engine's default one. */
  readonly networks: readonly string[];
  readonly user?: string;
  readonly memoryBytes?: number;
  readonly cpus?: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it is removed when it is stopped. */
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
  /** It is handed its listener: then a `listen` without a port means any that is free. */
  readonly isHandedListener?: true;
}

/** A program that is started for each client, or for a listener with all its clients. */
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
  /** Whether it is handed the listener. */
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
  /** The source of a JavaScript regular expression that is known to be valid. */
  | { readonly kind: "log"; readonly pattern: string };

/** Statuses of HTTP, both ends included. */
export interface StatusRange {
  readonly from: number;
  readonly to: number;
}
