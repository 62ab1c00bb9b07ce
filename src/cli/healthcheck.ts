import { NoAnswerError, queryAdmin } from "./admin-client.ts";
import { type Command, configOption, configOptionHelp, exitCode } from "./command.ts";
import { adminOf } from "./config.ts";

export const command: Command = {
  usage: "[-c FILE]",
  options: configOption,
  help: `Exits with 0 if the wakeport of this configuration answers, else with 1. For HEALTHCHECK.
wakeport is also healthy while targets sleep or the engine is down.

${configOptionHelp}`,
  run: async (options, context) => {
    try {
      const { status } = await queryAdmin(await adminOf(options, context), "/healthz");
      if (status === 200) return exitCode.ok;
      context.printError(`wakeport: /healthz answered ${status}`);
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      context.printError(`wakeport: ${error.message}`);
    }
    return exitCode.failed;
  },
};
