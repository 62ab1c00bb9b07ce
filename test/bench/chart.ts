/** The chart of README.md: the CPU time that relays need for a GB, from the results of the subject `throughput`. */
import { type Result, type Row, spreadOf } from "./runner.ts";

const WIDTH = 760;
const LABELS = 130;
const VALUES = 56;
const BAR = 12;
const GAP = 14;
const TOP = 54;
/** The number of connections, and the classes of their bars. */
const SERIES = [
  { metric: "cpu1", title: "1 connection", kind: "one" },
  { metric: "cpu8", title: "8 connections", kind: "eight" },
  { metric: "cpu64", title: "64 connections", kind: "many" },
] as const;

/** A shape or a text, as a line of SVG. */
type Element = string;

/** Returns an SVG that suits light and dark pages. @throws if throughput was not measured */
export function chart(results: readonly Result[]): string {
  const result = results.find(({ name }) => name === "throughput");
  if (result === undefined) throw new Error("--svg needs the subject throughput");
  const rows = result.rows.filter((row) => row.name !== "wakeport-before" && medianOf(row, "cpu1") !== undefined);
  const greatest = Math.max(...rows.flatMap((row) => SERIES.map(({ metric }) => medianOf(row, metric) ?? 0)));
  const scale = (WIDTH - LABELS - VALUES) / greatest;
  const groupHeight = SERIES.length * BAR + GAP;
  const groups = rows.flatMap((row, index) => group(row, TOP + index * groupHeight, scale));
  const height = TOP + rows.length * groupHeight;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>CPU time of relays for each GB</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.value { font-size: 11px; }
.title { font-weight: 600; }
.own { font-weight: 700; }
.one { fill: #0550ae; } .eight { fill: #218bff; } .many { fill: #80b3ff; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.one { fill: #79c0ff; } .eight { fill: #388bfd; } .many { fill: #1f4f99; }
}
</style>
<text class="title" x="0" y="16">CPU seconds of the relay for each GB, less is better</text>
${[...legend(), ...groups].join("\n")}
</svg>
`;
}

function legend(): readonly Element[] {
  return SERIES.flatMap(({ title, kind }, index) => {
    const x = LABELS + index * 150;
    return [
      `<rect class="${kind}" x="${x}" y="28" width="12" height="12"/>`,
      `<text class="value" x="${x + 18}" y="38">${title}</text>`,
    ];
  });
}

function group(row: Row, y: number, scale: number): readonly Element[] {
  const middle = y + (SERIES.length * BAR) / 2 + 4;
  const own = row.name.startsWith("wakeport") ? ' class="own"' : "";
  const bars = SERIES.flatMap(({ metric, kind }, index) => {
    const value = medianOf(row, metric);
    if (value === undefined) return [];
    const [width, top] = [(value * scale).toFixed(1), y + index * BAR];
    return [
      `<rect class="${kind}" x="${LABELS}" y="${top}" width="${width}" height="${BAR - 1}"/>`,
      `<text class="value" x="${(LABELS + value * scale + 6).toFixed(1)}" y="${top + 10}">${value.toFixed(2)}</text>`,
    ];
  });
  return [`<text${own} x="0" y="${middle}">${row.name}</text>`, ...bars];
}

function medianOf(row: Row, name: string): number | undefined {
  return spreadOf(row, { name, title: "", digits: 0 })?.median;
}
