import type { Config } from "../config/config.ts";
import { demoConfig, demoHint } from "../demo/demo.ts";
import { TargetError } from "../errors.ts";
import { type Command, type Context, configOption, configOptionHelp, exitCode, type Options } from "./command.ts";
import { configOf, parseContext } from "./config.ts";

export const command: Command = {
  usage: "[-c FILE | --demo]",
  options: { ...configOption, demo: { type: "boolean" } },
  help: `Listens on the ports of the configuration until SIGTERM or SIGINT; a second signal exits at once. SIGHUP reloads the
configuration; an invalid configuration changes nothing.

${configOptionHelp}
      --demo          serve two local processes instead of a configuration`,
  run,
};

async function run(options: Options, context: Context): Promise<number> {
  const isDemo = options["demo"] === true;
  const fallbacks: string[] = [];
  const configured = (): Promise<Config> => configOf(options, context, (reason) => fallbacks.push(reason));
  // The rest of the program is loaded while a child process reads the configuration.
  const reading = isDemo ? demo(context) : configured();
  const [config, { serve }] = await Promise.all([reading, import("./serve.ts")]);
  const read = async (): Promise<Config> => {
    if (isDemo) throw new TargetError("invalid", "the demo has no configuration to reload");
    return await configured();
  };
  await serve(config, context, { read, fallbacks, ...(isDemo && { hint: demoHint }) });
  return exitCode.ok;
}

async function demo(context: Context): Promise<Config> {
  const { parseConfig } = await import("../config/parse.ts");
  return parseConfig(Buffer.from(demoConfig(context.execPath)), "demo", parseContext(context));
}
