/** The command line: which commands there are, how each is called, and what an exit code means. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { NoConfigError } from "../config/load.ts";
import { ConfigError } from "../config/problem.ts";
import { suggest } from "../config/suggest.ts";
import { BindError, codeOf, messageOf, TargetError } from "../errors.ts";
import { noConfigHelp } from "./no-config.ts";

/** What a command may use of the process around it. */
export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly revision: string;
  readonly nodeVersion: string;
  readonly execPath: string;
  readonly uid: number;
  readonly gid: number;
  readonly openFiles: number;
  readonly isTerminal: boolean;
  /** Aborted when the process is asked to end. */
  readonly shutdown: AbortSignal;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
  /** Has `act` done, synchronously, however the process ends short of SIGKILL. */
  readonly atExit: (act: () => void) => void;
}

/** Values of options, by name. */
export type Options = Readonly<Record<string, string | boolean | undefined>>;

export interface Command {
  /** What comes after the command's name: options in brackets. */
  readonly usage: string;
  readonly options: NonNullable<ParseArgsConfig["options"]>;
  readonly help: string;
  /** @returns the exit code */
  run(options: Options, context: Context): Promise<number>;
}

export const exitCode = { ok: 0, failed: 1, usage: 2 } as const;

/** Shared by the commands that need a configuration. */
export const configOption: Command["options"] = { config: { type: "string", short: "c" } };

export const configOptionHelp =
  "  -c, --config FILE   default: $WAKEPORT_CONFIG, ./wakeport.yaml, /etc/wakeport/wakeport.yaml";

const commands: Readonly<
  Record<string, { readonly summary: string; readonly load: () => Promise<{ command: Command }> }>
> = {
  run: { summary: "listen, wake, relay, put to sleep", load: () => import("./run.ts") },
  check: { summary: "check the configuration and print the plan", load: () => import("./check.ts") },
  status: { summary: "tell what a running wakeport is doing", load: () => import("./status.ts") },
  healthcheck: { summary: "exit 0 when a running wakeport answers", load: () => import("./healthcheck.ts") },
  schema: { summary: "print the JSON Schema of the configuration", load: () => import("./schema.ts") },
  version: { summary: "print the version", load: () => import("./version.ts") },
};

/** Runs the command that `args` name. @returns the exit code: 0 done, 1 failed at run time, 2 usage or configuration */
export async function runCommand(args: readonly string[], context: Context): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    context.print(overview());
    return name === undefined ? exitCode.usage : exitCode.ok;
  }
  const entry = name === "--version" ? commands["version"] : Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry === undefined) {
    const near = suggest(name, Object.keys(commands));
    const hint = near === undefined ? "see wakeport --help" : `did you mean "${near}"?`;
    context.printError(`wakeport: there is no command "${name}": ${hint}`);
    return exitCode.usage;
  }
  const { command } = await entry.load();
  return runParsed(name, command, rest, context);
}

async function runParsed(name: string, command: Command, args: string[], context: Context): Promise<number> {
  let options: Options;
  try {
    options = parseArgs({ args, options: { ...command.options, help: { type: "boolean", short: "h" } } })
      .values as Options;
  } catch (error) {
    context.printError(`wakeport ${name}: ${messageOf(error)}\nusage: wakeport ${name} ${command.usage}`);
    return exitCode.usage;
  }
  if (options["help"] === true) {
    context.print(`usage: wakeport ${name} ${command.usage}\n\n${command.help}`);
    return exitCode.ok;
  }
  try {
    return await command.run(options, context);
  } catch (error) {
    return explainFailure(error, context);
  }
}

/** Expected failures in words; everything else is a bug and goes on. */
function explainFailure(error: unknown, context: Context): number {
  if (error instanceof ConfigError) {
    context.printError(error.message);
    return exitCode.usage;
  }
  if (error instanceof NoConfigError) {
    context.printError(noConfigHelp);
    return exitCode.usage;
  }
  if (error instanceof TargetError) {
    context.printError(`wakeport: ${error.message}${error.remedy === undefined ? "" : `: ${error.remedy}`}`);
    return error.fault === "invalid" ? exitCode.usage : exitCode.failed;
  }
  if (error instanceof BindError || codeOf(error) === "EPIPE") {
    context.printError(`wakeport: ${messageOf(error)}`);
    return exitCode.failed;
  }
  throw error;
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}   ${summary}`);
  return `usage: wakeport COMMAND [OPTIONS]\n\n${lines.join("\n")}\n\nwakeport COMMAND --help tells more.`;
}
