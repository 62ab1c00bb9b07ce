import { median, quantile } from "./statistics.ts";
import type { Contestant, Field, Metric, Sample, Subject } from "./subject.ts";

/** No round begins later than this after the first one. */
const LAST_ROUND_MS = 100_000;

/** The samples of one contestant, one for each round in which it was measured. */
export interface Row {
  readonly name: string;
  readonly samples: readonly Sample[];
  /** Why it was not measured in the rounds that are missing. */
  readonly error?: string;
}

export interface Result {
  readonly name: string;
  readonly title: string;
  readonly metrics: readonly Metric[];
  readonly references: readonly string[];
  readonly rows: readonly Row[];
  readonly missing: readonly string[];
}

export interface Spread {
  readonly median: number;
  /** The value below which 95 % are. */
  readonly p95: number;
  readonly min: number;
  readonly max: number;
}

export interface RunOptions {
  readonly rounds: number;
  /** Receives one line for each round. */
  readonly progress: (line: string) => void;
}

/**
 * Measures all contestants of a subject in turns, so that a change of the machine's load meets them all. The order rotates
 * from round to round. A contestant that fails is left out of the rounds that follow.
 */
export async function runSubject(subject: Subject, { rounds: wanted, progress }: RunOptions): Promise<Result> {
  await using owned = new AsyncDisposableStack();
  const { contestants, missing } = await subject.open(owned);
  const samples = new Map<string, (Sample | undefined)[]>(contestants.map(({ name }) => [name, []]));
  const errors = new Map<string, string>();
  const rounds = Math.min(wanted * (subject.repeat ?? 1), subject.maxRounds ?? Number.POSITIVE_INFINITY);
  const began = performance.now();
  let round = 0;
  for (; round < rounds && performance.now() - began < LAST_ROUND_MS; round += 1) {
    progress(`${subject.name}: round ${round + 1} of ${rounds}`);
    for (const contestant of rotated(contestants, round)) {
      if (errors.has(contestant.name)) continue;
      try {
        samples.get(contestant.name)![round] = await contestant.measure();
      } catch (error) {
        errors.set(contestant.name, error instanceof Error ? error.message : String(error));
      }
    }
  }
  const late = round < rounds ? [`${rounds - round} of ${rounds} rounds: the time is over`] : [];
  return resultOf(subject, { contestants, missing: [...missing, ...late] }, samples, errors);
}

function resultOf(
  subject: Subject,
  { contestants, missing }: Field,
  samples: ReadonlyMap<string, readonly (Sample | undefined)[]>,
  errors: ReadonlyMap<string, string>,
): Result {
  const direct = samples.get("direct") ?? [];
  const rows = contestants.map(({ name }): Row => {
    const complete = (samples.get(name) ?? []).map((sample, round) => derived(subject, sample, direct[round]));
    const error = errors.get(name);
    return { name, samples: complete.map((sample) => sample ?? {}), ...(error === undefined ? {} : { error }) };
  });
  const { name, title, metrics, references } = subject;
  return { name, title, metrics, references, rows, missing };
}

function derived(subject: Subject, sample: Sample | undefined, direct: Sample | undefined): Sample | undefined {
  if (sample === undefined || direct === undefined || subject.derive === undefined) return sample;
  return { ...sample, ...subject.derive(sample, direct) };
}

function rotated(contestants: readonly Contestant[], round: number): readonly Contestant[] {
  const first = contestants.length === 0 ? 0 : round % contestants.length;
  return [...contestants.slice(first), ...contestants.slice(0, first)];
}

/** Returns undefined if no round has a value of the metric. */
export function spreadOf(row: Row, metric: Metric): Spread | undefined {
  return spread(row.samples.map((sample) => sample[metric.name]));
}

/** Divides a row by another one, round by round. Returns undefined if no round has both values. */
export function ratioOf(row: Row, reference: Row, metric: Metric): Spread | undefined {
  return spread(
    row.samples.map((sample, round) => {
      const [value, divisor] = [sample[metric.name], reference.samples[round]?.[metric.name]];
      return value === undefined || divisor === undefined || divisor === 0 ? undefined : value / divisor;
    }),
  );
}

function spread(values: readonly (number | undefined)[]): Spread | undefined {
  const found = values.flatMap((value) => (value === undefined || Number.isNaN(value) ? [] : [value]));
  if (found.length === 0) return undefined;
  return { median: median(found), p95: quantile(found, 0.95), min: Math.min(...found), max: Math.max(...found) };
}
