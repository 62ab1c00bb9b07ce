/** A command of the command line and its environment. */
import type { ParseArgsConfig } from "node:util";

/** The environment of a command: the only access to the process. */
export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly revision: string;
  readonly nodeVersion: string;
  readonly execPath: string;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, and whether the process may start children with other groups. */
  readonly groups: readonly number[];
  readonly maySetGroups: boolean;
  readonly umask: number;
  readonly pid: number;
  /** The limit of open descriptors, and their number at the start. */
  readonly openFiles: number;
  readonly ownFiles: number;
  /** Bound sockets that the process inherited. */
  readonly inheritedFds: readonly number[];
  readonly isTerminal: boolean;
  /** Aborted when the process receives a signal to end. */
  readonly shutdown: AbortSignal;
  /** Calls `act` on each SIGHUP. */
  readonly onReload: (act: () => void) => void;
  /** Calls `act` on each SIGUSR2. */
  readonly onStatusRequest: (act: () => void) => void;
  /** Prints text for people. Control characters are escaped. */
  readonly print: (text: string) => void;
  /** Prints text for programs, unchanged. */
  readonly printData: (text: string) => void;
  /** Prints text for people to standard error. */
  readonly printError: (text: string) => void;
  /** Calls `act`, synchronously, when the process exits, except by SIGKILL. */
  readonly atExit: (act: () => void) => void;
}

/** Values of options, by name. */
export type Options = Readonly<Record<string, string | boolean | undefined>>;

export interface Command {
  /** The options and arguments after the name of the command. */
  readonly usage: string;
  readonly options: NonNullable<ParseArgsConfig["options"]>;
  /** Whether the command accepts arguments that are not options. */
  readonly takesArguments?: boolean;
  readonly help: string;
  /** @param positionals the arguments that are not options @returns the exit code */
  run(options: Options, context: Context, positionals: readonly string[]): Promise<number>;
}

/** 0 done, 1 failed at run time, 2 invalid usage or configuration. */
export const exitCode = { ok: 0, failed: 1, usage: 2 } as const;

/** The option of all commands that need a configuration. */
export const configOption: Command["options"] = { config: { type: "string", short: "c" } };

export const configOptionHelp =
  "  -c, --config FILE   default: $WAKEPORT_CONFIG, ./wakeport.yaml, /etc/wakeport/wakeport.yaml";
