import type { ServiceStatus, StatusReport } from "../admin/api.ts";
import { formatDuration } from "../config/units.ts";
import { askStatus, NoAnswerError } from "./ask-admin.ts";
import { type Command, configOption, configOptionHelp, exitCode } from "./command.ts";
import { adminOf } from "./config.ts";
import { table } from "./plan.ts";

const MOST_BANS_SHOWN = 10;
const HEAD = ["SERVICE", "STATE", "TARGET", "CONNS", "WAITING", "IDLE IN", "LAST ACTIVITY", "CAUSE"];

export const command: Command = {
  usage: "[-c FILE] [--json]",
  options: { ...configOption, json: { type: "boolean" } },
  help: `Tells what the running wakeport of this configuration is doing. Exits 1 when none answers.

${configOptionHelp}
      --json          as the API tells it`,
  run: async (options, context) => {
    try {
      const report = await askStatus(await adminOf(options, context));
      context.print(options["json"] === true ? JSON.stringify(report, null, 2) : format(report, Date.now()));
      return exitCode.ok;
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      context.printError(`wakeport: ${error.message}`);
      return exitCode.failed;
    }
  },
};

/** A table for people; `now` is Unix time in milliseconds. */
export function format(
  { engine, services, unnamed = [], label_problems = [], bans }: StatusReport,
  now: number,
): string {
  const rows = services.map((service) => rowOf(service, now));
  const others = unnamed.map((one) => rowOf({ ...one, name: "-", ...NO_CLIENTS }, now));
  const down = engine === undefined || engine.up ? [] : [`the engine at ${engine.url} does not answer`];
  const problems = engine?.problems ?? down;
  const starting = services.flatMap(({ name, pending = [] }) =>
    pending.length === 0 ? [] : [`${name}: waiting for ${pending.join(", ")}`],
  );
  const needed = [...services, ...unnamed].flatMap(({ target, dependents }) =>
    dependents.length === 0 ? [] : [`${target}: needed by ${dependents.join(", ")}`],
  );
  const held = [...services, ...unnamed].flatMap(({ target, held_by = [] }) =>
    held_by.length === 0 ? [] : [`${target}: kept awake by ${held_by.join("; ")}`],
  );
  const failures = services.flatMap(({ name, last_error }) =>
    last_error === undefined ? [] : [`${name}: ${last_error}`],
  );
  const labels = label_problems.map(({ container, problem }) => `${container}: ${problem}`);
  const lines = [...problems, ...starting, ...needed, ...held, ...failures, ...labels, ...banLines(bans, now)];
  return [...table([HEAD, ...rows, ...others]), ...lines].join("\n");
}

function banLines(bans: StatusReport["bans"], now: number): string[] {
  if (bans === undefined) return [];
  const shown = bans.latest.slice(0, MOST_BANS_SHOWN);
  const more = bans.count - shown.length;
  return [
    ...shown.map(({ source, until, service }) => {
      return `${source}: banned by ${service} for another ${duration(Date.parse(until) - now)}`;
    }),
    ...(more > 0 ? [`and ${more} more are banned`] : []),
  ];
}

/** A row has no more of a service than this. */
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

function duration(ms: number): string {
  return formatDuration(Math.max(0, Math.round(ms / 1000) * 1000));
}
