import type { ServiceStatus, StatusReport } from "../admin/api.ts";
import { suggest } from "../config/yaml/suggest.ts";
import { withoutDataPlane } from "../dataplane/data-plane.ts";
import { printable, printableJson } from "../net/escape.ts";
import { fetchService, fetchStatus, NoAnswerError } from "./admin-client.ts";
import { table } from "./check/plan.ts";
import { type Command, configOption, configOptionHelp, exitCode } from "./command.ts";
import { adminOf } from "./config.ts";
import { duration, formatDetails } from "./status-details.ts";

const MAX_BANS_SHOWN = 10;
const HEAD = ["SERVICE", "STATE", "TARGET", "CONNS", "WAITING", "IDLE IN", "LAST ACTIVITY", "CAUSE"];

export const command: Command = {
  usage: "[-c FILE] [--json] [SERVICE]",
  takesArguments: true,
  options: { ...configOption, json: { type: "boolean" } },
  help: `Shows the services of the running wakeport of this configuration. With the name of a service it shows all details: the
last error, the last output of the target, and the clients. Exits with 1 if no wakeport answers.

${configOptionHelp}
      --json          print the response of the API`,
  run: async (options, context, [name, ...others]) => {
    if (others.length > 0) {
      context.printError("wakeport: status accepts the name of one service");
      return exitCode.usage;
    }
    try {
      const admin = await adminOf(options, context);
      const print = <Report>(report: Report, format: (report: Report, now: number) => string): number => {
        const isJson = options["json"] === true;
        context.print(isJson ? printableJson(JSON.stringify(report, null, 2)) : format(report, Date.now()));
        return exitCode.ok;
      };
      // The list identifies the server as wakeport and contains the names for the hint.
      const report = await fetchStatus(admin);
      if (name === undefined) return print(report, format);
      const details = await fetchService(admin, name);
      if (details !== undefined) return print(details, formatDetails);
      context.printError(`wakeport: unknown service "${name}"${nameHint(name, report.services)}`);
      return exitCode.usage;
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      context.printError(`wakeport: ${error.message}`);
      return exitCode.failed;
    }
  },
};

function nameHint(name: string, services: readonly Pick<ServiceStatus, "name">[]): string {
  const names = services.map((service) => service.name);
  const similar = suggest(name, names);
  if (similar !== undefined) return `: did you mean "${similar}"?`;
  return names.length === 0 ? "" : `: services are ${names.join(", ")}`;
}

/** A table for people; `now` is Unix time in milliseconds. */
export function format(report: StatusReport, now: number): string {
  const { engine, services, unnamed = [], label_problems, bans, data_plane } = report;
  const rows = services.map((service) => rowOf(service, now));
  const others = unnamed.map((target) => rowOf({ ...target, name: "-", ...NO_CLIENTS }, now));
  const down = engine === undefined || engine.up ? [] : [`the engine at ${engine.url} does not answer`];
  const problems = engine?.problems ?? down;
  const starting = services.flatMap(({ name, pending = [] }) =>
    pending.length === 0 ? [] : [`${name}: waiting for ${pending.join(", ")}`],
  );
  const needed = [...services, ...unnamed].flatMap(({ target, dependents }) =>
    dependents.length === 0 ? [] : [`${target}: needed by ${dependents.join(", ")}`],
  );
  const held = [...services, ...unnamed].flatMap(({ target, kept_awake_by = [] }) =>
    kept_awake_by.length === 0 ? [] : [`${target} is kept awake: ${kept_awake_by.join("; ")}`],
  );
  const failures = services.flatMap(({ name, last_error }) =>
    last_error === undefined ? [] : [`${name}: ${last_error}`],
  );
  const labels = label_problems?.map(({ container, problem }) => `${container}: ${problem}`) ?? [];
  const isEmpty = label_problems?.length === 0 && services.length === 0 && problems.length === 0;
  if (isEmpty) labels.push("no services: found no container with the label wakeport.enable=true");
  const relayed = data_plane?.problem === undefined ? [] : [withoutDataPlane(data_plane.problem)];
  const lines = [
    ...problems,
    ...relayed,
    ...starting,
    ...needed,
    ...held,
    ...failures,
    ...labels,
    ...banLines(bans, now),
  ];
  return [...table([HEAD, ...rows, ...others]), ...lines.map(printable)].join("\n");
}

function banLines(bans: StatusReport["bans"], now: number): string[] {
  if (bans === undefined) return [];
  const shown = bans.latest.slice(0, MAX_BANS_SHOWN);
  const more = bans.count - shown.length;
  return [
    ...shown.map(({ source, until, service }) => {
      return `${source}: banned by ${service} for another ${duration(Date.parse(until) - now)}`;
    }),
    ...(more > 0 ? [`and ${more} more bans`] : []),
  ];
}

/** The columns of a service. */
type Row = Pick<ServiceStatus, "name" | "state" | "target" | "idle_deadline" | "last_activity" | "cause"> & {
  readonly connections: number | "-";
  readonly waiting: number | "-";
};

const NO_CLIENTS = { connections: "-", waiting: "-" } as const;

function rowOf(
  { name, state, target, connections, waiting, idle_deadline, last_activity, cause = "-" }: Row,
  now: number,
): string[] {
  const idleIn = idle_deadline === undefined ? "-" : duration(Date.parse(idle_deadline) - now);
  const last = last_activity === undefined ? "-" : `${duration(now - Date.parse(last_activity))} ago`;
  return [name, state, target, String(connections), String(waiting), idleIn, last, cause];
}
