/** The sections of wakeport.yaml that do not belong to a service. */
import { z } from "zod";
import type { Config } from "../config.ts";
import { parsePortRange } from "../values/ports.ts";
import { address, dockerName, duration, numberOrText, present } from "./common.ts";
import { effective, key, section, type Written } from "./key.ts";
import { names } from "./names.ts";

const portRange = numberOrText(parsePortRange);

export const adminKeys = {
  listen: key(address, {
    description: "Where metrics, health and status are served; default: 127.0.0.1:9464, or WAKEPORT_ADMIN_LISTEN",
  }),
  allowed_hosts: key(names("host"), {
    description: "Host names of requests, in addition to addresses, names without a dot and the name of the machine",
  }),
};

const labelKeys = {
  ports: key(z.union([portRange.transform((range) => [range]), z.array(portRange)]), {
    default: ["1024-65535"],
    description: "Ports that labels may claim",
  }),
  names: key(names("host"), {
    description:
      "Names that labels may claim as host or sni; default: names that neither cover a name of this file nor are covered by one",
  }),
};

export const dockerKeys = {
  host: key(z.string().min(1), {
    description: "Address of the Docker API; default: DOCKER_HOST, or unix:///var/run/docker.sock",
  }),
  project: key(dockerName, {
    description: "The compose project of containers that have only a service; default: that of wakeport",
  }),
  discover: key(z.union([z.boolean(), z.literal("all")]), {
    default: false,
    description:
      "Whether labels of containers define services: those of wakeport's compose project (true), or of all containers (all)",
  }),
  labels: key(section(labelKeys), { description: "Ports and names that labels may claim" }),
};

export const logKeys = {
  level: key(z.enum(["trace", "debug", "info", "warn", "error", "silent"]), {
    default: "info",
    description: "The lowest level that is logged",
  }),
  format: key(z.enum(["auto", "json", "pretty", "xinetd"]), {
    default: "auto",
    description: "auto: pretty on a terminal, else JSON; xinetd: the lines of xinetd",
  }),
  user_id: key(z.boolean(), {
    default: false,
    description: "Whether wakeport queries the ident server of each client (RFC 1413)",
  }),
};

export const shutdownKeys = {
  targets: key(z.enum(["stop", "leave"]), {
    default: "stop",
    description: "Whether containers are stopped or left running when wakeport shuts down",
  }),
  drain: key(duration, { default: "10s", description: "Time for open connections to finish when wakeport shuts down" }),
};

export interface Sections {
  readonly admin: Written<typeof adminKeys>;
  readonly docker: Written<typeof dockerKeys>;
  readonly log: Written<typeof logKeys>;
  readonly shutdown: Written<typeof shutdownKeys>;
}

/** The scope and the permissions of labels, or undefined if labels define no services. */
export function resolveDiscovery({ docker }: Sections) {
  const { discover } = effective(dockerKeys, docker);
  if (discover === false) return undefined;
  const { ports, names: allowed } = effective(labelKeys, docker.labels);
  const scope = discover === "all" ? ("all" as const) : ("project" as const);
  return { scope, claims: present({ ports, names: allowed }) };
}

export function resolveSections(
  { admin, docker: { host, project }, log, shutdown }: Sections,
  adminListen: Config["admin"],
): Pick<Config, "admin" | "adminAllowedHosts" | "docker" | "log" | "shutdown"> {
  const { level, format, user_id } = effective(logKeys, log);
  const { targets, drain } = effective(shutdownKeys, shutdown);
  return {
    admin: admin.listen ?? adminListen,
    adminAllowedHosts: admin.allowed_hosts ?? [],
    docker: present({ host, project }),
    log: { level, format, userId: user_id },
    shutdown: { targets, drainMs: drain },
  };
}
