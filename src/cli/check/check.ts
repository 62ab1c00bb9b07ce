import { serviceStatus } from "../../admin/api.ts";
import type { Config, Service } from "../../config/config.ts";
import { describeTarget } from "../../config/describe-target.ts";
import { parseEngineHost } from "../../docker/host.ts";
import { sentenceOf, TargetError } from "../../errors.ts";
import { printable } from "../../net/escape.ts";
import { accountOf } from "../../targets/user-account.ts";
import { type Command, type Context, configOption, configOptionHelp, exitCode } from "../command.ts";
import { configOf } from "../config.ts";
import { accessSummary } from "./access-summary.ts";
import { containerChecks } from "./container-checks.ts";
import { exposedSocket } from "./exposed-socket.ts";
import { ftpSettings } from "./ftp-settings.ts";
import { forbiddenAccounts, forkedPrograms, missingPrograms } from "./missing-programs.ts";
import { formatPlan } from "./plan.ts";
import { relayWarning } from "./relay-warning.ts";
import { serviceSummary } from "./service-summary.ts";
import { warnings } from "./warnings.ts";

const LABELS = "labels of containers: not checked; wakeport status shows their services and errors while wakeport runs";

export const command: Command = {
  usage: "[-c FILE]",
  options: configOption,
  help: `Checks the configuration and prints the plan. It starts no target and binds no port. Users, groups and programs are looked
up on this machine; a missing program is a warning. The engine is queried for the containers, their restart policies,
health checks, published ports and networks; problems with them, and an engine that does not answer, are remarks. For
services with data ports, check prints the settings of their FTP servers. Exits with 2 if the configuration is invalid.

${configOptionHelp}`,
  run: async (options, context) => {
    const config = await configOf(options, context);
    const errors = [...unusableHost(config, context.env), ...unknownAccounts(config, context)];
    if (errors.length > 0) {
      for (const problem of errors) context.printError(`${config.source} error: ${problem}`);
      return exitCode.usage;
    }
    const services = config.services.map((service) => {
      const { state, ...planned } = serviceStatus(service, describeTarget(service.target), undefined);
      return service.enabled ? planned : { ...planned, state };
    });
    const lines = [
      ...formatPlan(services),
      ...linesOf("settings other than the defaults:", config, serviceSummary),
      ...linesOf("access and limits:", config, (service) =>
        service.ports.length === 0 ? undefined : accessSummary(service),
      ),
      ...(await containerChecks(config, context)),
      ...(config.discover === undefined ? [] : [LABELS]),
      ...warningLines(config),
      ...ftpSettings(config.services),
    ];
    context.print([`${config.source} is valid`, ...lines].join("\n"));
    const others = [exposedSocket(config, context), relayWarning(config.services)];
    const warnings = [
      ...missingPrograms(config, context.env),
      ...forbiddenAccounts(config, context),
      ...forkedPrograms(config),
      ...others.filter((warning) => warning !== undefined),
    ];
    for (const problem of warnings) {
      context.printError(`${config.source} warning: ${problem}`);
    }
    return exitCode.ok;
  },
};

/** Returns a line for each enabled service with a summary. */
function linesOf(heading: string, { services }: Config, summaryOf: (service: Service) => string | undefined): string[] {
  const lines = services.flatMap((service) => {
    const summary = service.enabled ? summaryOf(service) : undefined;
    return summary === undefined ? [] : [`  ${service.name}: ${printable(summary)}`];
  });
  return lines.length === 0 ? [] : [heading, ...lines];
}

function warningLines({ services, log }: Config): string[] {
  const lines = warnings(services, log.userId).map(({ of, remark }) => `  ${printable(`${of}: ${remark}`)}`);
  return lines.length === 0 ? [] : ["remarks:", ...lines];
}

/** Returns why `run` rejects `docker.host`. An invalid DOCKER_HOST is only a remark, because it is not in the file. */
function unusableHost({ docker }: Config, env: Context["env"]): string[] {
  if (docker.host === undefined) return [];
  try {
    parseEngineHost(docker.host, env);
    return [];
  } catch (error) {
    if (error instanceof TargetError) return [`"docker.host": ${sentenceOf(error)}`];
    throw error;
  }
}

/** Returns errors for users and groups of local programs that do not exist on this machine. */
function unknownAccounts({ services }: Config, own: Pick<Context, "uid" | "gid">): string[] {
  return services.flatMap(({ name, enabled, target }) => {
    const isProgram = target.kind === "process" || target.kind === "inetd";
    const problem = enabled && isProgram ? accountProblem(target, own) : undefined;
    return problem === undefined ? [] : [`service "${name}": ${problem}`];
  });
}

function accountProblem(
  target: Parameters<typeof accountOf>[0],
  own: Pick<Context, "uid" | "gid">,
): string | undefined {
  try {
    accountOf(target, own);
    return undefined;
  } catch (error) {
    if (error instanceof TargetError) return sentenceOf(error);
    throw error;
  }
}
