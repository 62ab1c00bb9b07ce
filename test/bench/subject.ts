/** What `npm run bench` measures, independent of how it is measured and shown. */

/** A measured quantity: one column of the table. */
export interface Metric {
  /** The name in a sample and in the JSON file. */
  readonly name: string;
  /** The head of the column, with the unit. */
  readonly title: string;
  /** Decimal places. */
  readonly digits: number;
  /** Whether the table shows the value below which 95 % of the rounds are. Default: no. */
  readonly isTailShown?: boolean;
}

/** Measured values by the names of metrics. A contestant may lack some. */
export type Sample = Readonly<Record<string, number>>;

/** One of the programs or configurations that are compared: one row of the table. */
export interface Contestant {
  readonly name: string;
  /** Measures once, within a few seconds. The runner calls it in each round, never two contestants at a time. */
  measure(): Promise<Sample>;
}

export interface Field {
  readonly contestants: readonly Contestant[];
  /** What cannot be measured on this machine, and why: shown below the table. */
  readonly missing: readonly string[];
}

export interface Subject {
  /** As the command line names it. */
  readonly name: string;
  /** The heading of the table. */
  readonly title: string;
  readonly metrics: readonly Metric[];
  /** Contestants by which the others are divided, round by round, for a table of ratios. */
  readonly references: readonly string[];
  /** Whether it runs in a network namespace of its own. There it reaches no container. */
  readonly isIsolated: boolean;
  /** Rounds for each one that the command line asks for, because one measurement takes little time; default: 1. */
  readonly repeat?: number;
  /** At most as many rounds, whatever the command line asks for; default: no limit. */
  readonly maxRounds?: number;
  /** Returns further values of a sample, from that of the contestant "direct" in the same round. */
  derive?(sample: Sample, direct: Sample): Sample;
  /** Starts all that is measured. The caller disposes of `owned` after the last round. */
  open(owned: AsyncDisposableStack): Promise<Field>;
}
