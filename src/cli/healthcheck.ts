import { askAdmin, NoAnswerError } from "./admin-client.ts";
import { type Command, configOption, configOptionHelp, exitCode } from "./command.ts";
import { adminOf } from "./config.ts";

export const command: Command = {
  usage: "[-c FILE]",
  options: configOption,
  help: `Exits 0 when the wakeport of this configuration answers, 1 when it does not. For HEALTHCHECK.
A sleeping target, or an engine that is down, does not make wakeport unhealthy.

${configOptionHelp}`,
  run: async (options, context) => {
    try {
      const { status } = await askAdmin(await adminOf(options, context), "/healthz");
      if (status === 200) return exitCode.ok;
      context.printError(`wakeport: /healthz answered ${status}`);
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      context.printError(`wakeport: ${error.message}`);
    }
    return exitCode.failed;
  },
};
