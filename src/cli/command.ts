/** What a command is, and what it may use. */
import type { ParseArgsConfig } from "node:util";

/** What a command may use of the process around it. */
export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly revision: string;
  readonly nodeVersion: string;
  readonly execPath: string;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, and whether children can be given others. */
  readonly groups: readonly number[];
  readonly maySetGroups: boolean;
  readonly umask: number;
  readonly pid: number;
  /** How many descriptors the process may have open, and how many it has from its start. */
  readonly openFiles: number;
  readonly ownFiles: number;
  /** Sockets that whoever started us has bound for us. */
  readonly inheritedFds: readonly number[];
  readonly isTerminal: boolean;
  /** Aborted when the process is asked to end. */
  readonly shutdown: AbortSignal;
  /** Has `act` done whenever the process is asked to read its configuration anew. */
  readonly onReload: (act: () => void) => void;
  /** Calls `act` on each SIGUSR2. */
  readonly onStatusRequest: (act: () => void) => void;
  /** Prints text for people. Escape sequences and other controls in it are escaped. */
  readonly print: (text: string) => void;
  /** Prints text for programs, unchanged. */
  readonly printData: (text: string) => void;
  /** Prints text for people to standard error. */
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
  /** Whether it takes words that are no options. */
  readonly takesArguments?: boolean;
  readonly help: string;
  /** @param words those that are no options @returns the exit code */
  run(options: Options, context: Context, words: readonly string[]): Promise<number>;
}

/** 0 done, 1 failed at run time, 2 wrong usage or configuration. */
export const exitCode = { ok: 0, failed: 1, usage: 2 } as const;

/** Shared by the commands that need a configuration. */
export const configOption: Command["options"] = { config: { type: "string", short: "c" } };

export const configOptionHelp =
  "  -c, --config FILE   default: $WAKEPORT_CONFIG, ./wakeport.yaml, /etc/wakeport/wakeport.yaml";
