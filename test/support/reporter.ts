/**
 * Reports test runs: one line for each file when it ends, each failure at once and again at the end, the slowest files,
 * and the totals in the form of node's own reporters.
 */
import path from "node:path";
import { inspect } from "node:util";

const SLOWEST_FILES = 10;
const counters = ["tests", "suites", "passed", "failed", "cancelled", "skipped", "todo"] as const;
type Counts = Readonly<Record<(typeof counters)[number], number>>;

/** The used part of the events of node's test runner. */
export interface TestEvent {
  readonly type: string;
  readonly data?: {
    readonly name?: string;
    readonly nesting?: number;
    readonly file?: string;
    /** The test file, if `file` is a helper that declares tests for it. */
    readonly entryFile?: string;
    readonly line?: number;
    readonly message?: string;
    readonly duration_ms?: number;
    readonly success?: boolean;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly counts?: Partial<Counts>;
    readonly details?: { readonly duration_ms?: number; readonly error?: Error & { readonly failureType?: string } };
  };
}
type Data = NonNullable<TestEvent["data"]>;

/** Reports one or several runs of node's test runner as one. */
export class Reporter {
  readonly #files: number;
  readonly #failures: string[] = [];
  readonly #times: { readonly file: string; readonly ms: number }[] = [];
  readonly #totals: Record<keyof Counts, number> = zeros();
  /** The names of the tests around the current one. */
  readonly #names: string[] = [];
  #hasFailed = false;
  #reported = 0;
  #ms = 0;

  /** @param files how many files the runs have together */
  constructor(files: number) {
    this.#files = files;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Returns the text to print for an event, or "". */
  textOf({ type, data = {} }: TestEvent): string {
    switch (type) {
      case "test:start":
        this.#names.splice(data.nesting ?? 0, Number.POSITIVE_INFINITY, data.name ?? "");
        return "";
      case "test:fail":
        return this.#failure(data);
      case "test:stdout":
      case "test:stderr":
        return data.message ?? "";
      case "test:summary":
        return data.file === undefined ? this.#endRun(data) : this.#fileLine(data);
      default:
        return "";
    }
  }

  /** Returns the end of the report. */
  summary(): string {
    const slowest = this.#times.toSorted((a, b) => b.ms - a.ms).slice(0, SLOWEST_FILES);
    const parts = [
      `\nslowest files:\n${slowest.map(({ file, ms }) => `  ${seconds(ms).padStart(7)} ${file}\n`).join("")}`,
      ...(this.#failures.length > 0
        ? [`\nfailed tests:\n${this.#failures.map((title) => `✖ ${title}\n`).join("")}`]
        : []),
    ];
    const { passed, failed, ...others } = this.#totals;
    const { tests, suites, ...rest } = others;
    const totals = { tests, suites, pass: passed, fail: failed, ...rest, duration_ms: Math.round(this.#ms) };
    return `${parts.join("")}\n${Object.entries(totals)
      .map(([name, total]) => `ℹ ${name} ${total}\n`)
      .join("")}`;
  }

  #failure(data: Data): string {
    const error = data.details?.error;
    // The failed subtest has been reported already, and a failing todo is no failure.
    if (error?.failureType === "subtestsFailed" || data.todo) return "";
    const title = `${where(data)} ${[...this.#names.slice(0, data.nesting), data.name].join(" > ")}`;
    this.#failures.push(title);
    return `✖ ${title} (${seconds(data.details?.duration_ms)})\n${indented(reasonOf(error))}\n`;
  }

  #fileLine({ entryFile: file, counts = {}, duration_ms: ms = 0 }: Data): string {
    this.#reported += 1;
    this.#times.push({ file: relative(file), ms });
    const { tests = 0, cancelled = 0, skipped = 0 } = counts;
    const failed = (counts.failed ?? 0) + cancelled;
    const parts = [
      `${tests} ${tests === 1 ? "test" : "tests"}`,
      ...(failed > 0 ? [`${failed} failed`] : []),
      ...(skipped > 0 ? [`${skipped} skipped`] : []),
    ];
    const number = String(this.#reported).padStart(String(this.#files).length);
    const mark = failed > 0 ? "✖" : "✔";
    return `${mark} ${number}/${this.#files} ${relative(file)}: ${parts.join(", ")} (${seconds(ms)})\n`;
  }

  #endRun({ success, counts = {}, duration_ms: ms = 0 }: Data): string {
    if (success !== true) this.#hasFailed = true;
    for (const counter of counters) this.#totals[counter] += counts[counter] ?? 0;
    this.#ms += ms;
    return "";
  }
}

function zeros(): Record<keyof Counts, number> {
  return { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 };
}

function where({ file, entryFile = file, line }: Data): string {
  return `${relative(entryFile)}${line === undefined || file !== entryFile ? "" : `:${line}`}`;
}

function relative(file = ""): string {
  return path.relative(process.cwd(), file);
}

function reasonOf(error: Error | undefined): string {
  return inspect(error?.cause ?? error, { colors: false });
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, "  ");
}

function seconds(ms = 0): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
