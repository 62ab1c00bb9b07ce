import { serviceStatus } from "../admin/api.ts";
import { describeTarget } from "../config/describe.ts";
import { type Command, configOption, configOptionHelp, exitCode } from "./command.ts";
import { configOf } from "./config.ts";
import { planLines } from "./plan.ts";

export const command: Command = {
  usage: "[-c FILE]",
  options: configOption,
  help: `Checks the configuration and prints what would be served. Nothing is started, no port is bound, no engine asked.
Exits 2 when the configuration cannot be used.

${configOptionHelp}`,
  run: async (options, context) => {
    const config = await configOf(options, context);
    const services = config.services.map((service) => {
      const { state, ...planned } = serviceStatus(service, describeTarget(service.target), undefined);
      return service.enabled ? planned : { ...planned, state };
    });
    context.print([`${config.source} is valid`, ...planLines(services)].join("\n"));
    return exitCode.ok;
  },
};
