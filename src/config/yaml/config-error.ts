/** Part of a file: offsets of the first character and after the last. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** One problem of a configuration. */
export interface Problem {
  readonly message: string;
  /** Absent: the whole file. */
  readonly span?: Span;
  /** A remedy. */
  readonly hint?: string;
}

/** Where a value is in the content of a file: keys, and indexes of lists. */
export type Path = readonly PropertyKey[];

/** A problem whose place is a path. */
export interface Located {
  readonly path: Path;
  /** The key at the path, if the problem is the key itself and not its value. */
  readonly key?: string;
  readonly message: string;
  readonly hint?: string;
}

export type Report = (problem: Located) => void;

/** An invalid configuration. Its message contains all problems in the order of the file. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  /** The address of the admin server in the file. Absent if the file does not exist. */
  readonly admin?: { readonly host: string; readonly port: number };

  constructor(
    message: string,
    problems: readonly Problem[],
    { admin, ...options }: ErrorOptions & Pick<ConfigError, "admin"> = {},
  ) {
    super(message, options);
    this.problems = problems;
    if (admin !== undefined) this.admin = admin;
  }
}
