/** Shows results as Markdown tables: docs/performance.md contains them as they are printed. */
import { type Result, type Row, ratioOf, type Spread, spreadOf } from "./runner.ts";
import type { Metric } from "./subject.ts";

const RATIO_DIGITS = 2;
/** A cell without a value. */
const NONE = "–";

/** The tables of a subject: the values, and for each reference the ratios. */
export function report(result: Result): string {
  const { title, rows, missing } = result;
  const rounds = Math.max(0, ...rows.map(({ samples }) => samples.length));
  const ratios = result.references.flatMap((name) => {
    const reference = rows.find((row) => row.name === name);
    return reference === undefined ? [] : [`Divided by ${name}, round by round:`, ratioTable(result, reference)];
  });
  const notes = [
    ...missing.map((text) => `Left out: ${text}.`),
    ...rows.flatMap(({ name, error }) => (error === undefined ? [] : [`Failed: ${name}: ${error}.`])),
  ];
  const heading = `Median of ${rounds} ${rounds === 1 ? "round" : "rounds"} (least–greatest).`;
  const parts = [`### ${title}`, heading, valueTable(result), ...ratios];
  return [...parts, ...(notes.length === 0 ? [] : [notes.join("\n")])].join("\n\n");
}

function valueTable({ metrics, rows }: Result): string {
  return table(metrics, rows, (row, metric) => cell(spreadOf(row, metric), metric));
}

function ratioTable({ metrics, rows }: Result, reference: Row): string {
  const others = rows.filter((row) => row !== reference);
  return table(metrics, others, (row, metric) => cell(ratioOf(row, reference, metric), { digits: RATIO_DIGITS }));
}

function table(metrics: readonly Metric[], rows: readonly Row[], cellOf: (row: Row, metric: Metric) => string): string {
  const lines = [
    ["", ...metrics.map(({ title }) => title)],
    ["---", ...metrics.map(() => "---:")],
    ...rows.map((row) => [row.name, ...metrics.map((metric) => cellOf(row, metric))]),
  ];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => `| ${line.map((text, column) => pad(text, widths[column]!)).join(" | ")} |`).join("\n");
}

/** A rule of dashes fills its column, as the formatters of Markdown write it. */
function pad(text: string, width: number): string {
  if (text === "---") return "-".repeat(width);
  if (text === "---:") return `${"-".repeat(width - 1)}:`;
  return text.padEnd(width);
}

function cell(spread: Spread | undefined, { digits, isTailShown }: Pick<Metric, "digits" | "isTailShown">): string {
  if (spread === undefined) return NONE;
  const { median, p95, min, max } = spread;
  const [middle, tail, least, greatest] = [median, p95, min, max].map((value) => value.toFixed(digits));
  if (least === greatest) return middle!;
  return `${middle}${isTailShown === true ? `, p95 ${tail}` : ""} (${least}–${greatest})`;
}
