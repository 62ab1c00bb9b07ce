/** The command line: selects and runs a command, and reports its failure. */
import { parseArgs } from "node:util";
import { NoConfigError } from "../config/default-paths.ts";
import { ConfigError } from "../config/yaml/config-error.ts";
import { suggest } from "../config/yaml/suggest.ts";
import { BindError, codeOf, messageOf, sentenceOf, TargetError } from "../errors.ts";
import { type Command, type Context, exitCode, type Options } from "./command.ts";
import { noConfigHelp } from "./no-config.ts";

const commands: Readonly<
  Record<string, { readonly summary: string; readonly load: () => Promise<{ command: Command }> }>
> = {
  run: { summary: "listen, start targets, relay, stop idle targets", load: () => import("./run.ts") },
  check: { summary: "check the configuration and print the plan", load: () => import("./check/check.ts") },
  status: { summary: "show the services of a running wakeport", load: () => import("./status.ts") },
  import: { summary: "convert the configuration of xinetd or inetd", load: () => import("./import.ts") },
  healthcheck: { summary: "exit with 0 if a running wakeport answers", load: () => import("./healthcheck.ts") },
  schema: { summary: "print the JSON Schema of the configuration", load: () => import("./schema.ts") },
  version: { summary: "print the version", load: () => import("./version.ts") },
};

/** Runs a command. @returns the exit code: 0 done, 1 failed at run time, 2 invalid usage or configuration */
export async function runCommand(args: readonly string[], context: Context): Promise<number> {
  const [name, ...rest] = args;
  if (name === "help" && rest[0] !== undefined) return runCommand([rest[0], "--help"], context);
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    context.print(overview());
    return name === undefined ? exitCode.usage : exitCode.ok;
  }
  const entry = name === "--version" ? commands["version"] : Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry === undefined) {
    const similar = suggest(name, Object.keys(commands));
    const hint = similar === undefined ? "see wakeport --help" : `did you mean "${similar}"?`;
    context.printError(`wakeport: unknown command "${name}": ${hint}`);
    return exitCode.usage;
  }
  const { command } = await entry.load();
  return runParsed(name, command, rest, context);
}

async function runParsed(name: string, command: Command, args: string[], context: Context): Promise<number> {
  let options: Options;
  let positionals: readonly string[];
  try {
    const known = { ...command.options, help: { type: "boolean", short: "h" } } as const;
    const parsed = parseArgs({ args, options: known, allowPositionals: command.takesArguments === true });
    options = parsed.values as Options;
    positionals = parsed.positionals;
  } catch (error) {
    const problem = optionProblem(messageOf(error), Object.keys(command.options ?? {}));
    context.printError(`wakeport ${name}: ${problem}\n${usageOf(name, command)}`);
    return exitCode.usage;
  }
  if (options["help"] === true) {
    context.print(`${usageOf(name, command)}\n\n${command.help}`);
    return exitCode.ok;
  }
  try {
    return await command.run(options, context, positionals);
  } catch (error) {
    return reportFailure(error, context);
  }
}

function usageOf(name: string, { usage }: Command): string {
  return `usage: wakeport ${name} ${usage}`.trimEnd();
}

/** Returns the message of `parseArgs()` in lower case, with the nearest option instead of its advice. */
function optionProblem(message: string, options: readonly string[]): string {
  const [, unknown] = /^Unknown option '(-[^']*)'/.exec(message) ?? [];
  if (unknown === undefined) return message.charAt(0).toLowerCase() + message.slice(1);
  const similar = suggest(unknown.replace(/^-+/, ""), options);
  return `unknown option "${unknown}"${similar === undefined ? "" : `: did you mean "--${similar}"?`}`;
}

/** Prints an expected failure. @throws other errors, which are bugs */
function reportFailure(error: unknown, context: Context): number {
  if (error instanceof ConfigError) {
    context.printError(error.message);
    return exitCode.usage;
  }
  if (error instanceof NoConfigError) {
    context.printError(noConfigHelp);
    return exitCode.usage;
  }
  if (error instanceof TargetError) {
    context.printError(`wakeport: ${sentenceOf(error)}`);
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
  return `usage: wakeport COMMAND [OPTIONS]\n\n${lines.join("\n")}\n\nwakeport COMMAND --help shows the options.`;
}
