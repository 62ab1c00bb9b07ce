/**
 * A reporter for node's test runner: one line for each file when it is done, each failure at once and again at the end,
 * then the runner's own summary as the last lines.
 */
import path from "node:path";
import { inspect } from "node:util";

/** What is used of the events of node's test runner. */
interface Event {
  readonly type: string;
  readonly data: {
    readonly name?: string;
    readonly nesting?: number;
    readonly file?: string;
    readonly line?: number;
    readonly message?: string;
    readonly duration_ms?: number;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly counts?: Readonly<Record<"tests" | "failed" | "cancelled" | "skipped", number>>;
    readonly details?: { readonly duration_ms: number; readonly error?: Error & { readonly failureType?: string } };
  };
}

/** How many files there are, from the address of this module: `reporter.ts?files=203`. */
const total = new URL(import.meta.url).searchParams.get("files") ?? "?";

// biome-ignore lint/style/noDefaultExport: node's test runner takes the default export.
export default async function* reporter(source: AsyncIterable<Event>): AsyncGenerator<string> {
  const failures: string[] = [];
  /** The names of the tests that the current one is in. */
  const names: string[] = [];
  let files = 0;
  for await (const { type, data } of source) {
    switch (type) {
      case "test:start":
        names.splice(data.nesting ?? 0, Number.POSITIVE_INFINITY, data.name ?? "");
        break;
      case "test:fail": {
        // The failed test within it has been reported, and what is to do does not count.
        if (data.details?.error?.failureType === "subtestsFailed" || data.todo) break;
        const title = `${where(data)} ${[...names.slice(0, data.nesting), data.name].join(" > ")}`;
        failures.push(title);
        yield `✖ ${title} (${seconds(data.details?.duration_ms)})\n${indented(reasonOf(data.details?.error))}\n`;
        break;
      }
      case "test:stdout":
      case "test:stderr":
        yield data.message ?? "";
        break;
      case "test:summary":
        if (data.file === undefined) break;
        files += 1;
        yield fileLine(files, data);
        break;
      case "test:diagnostic":
        if (/^tests \d+$/.test(data.message ?? "") && failures.length > 0) yield list(failures);
        yield `ℹ ${data.message}\n`;
        break;
    }
  }
}

function fileLine(number: number, { file, counts, duration_ms }: Event["data"]): string {
  const { tests = 0, cancelled = 0, skipped = 0 } = counts ?? {};
  const failed = (counts?.failed ?? 0) + cancelled;
  const parts = [
    `${tests} ${tests === 1 ? "test" : "tests"}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
  ];
  return `${failed > 0 ? "✖" : "✔"} ${String(number).padStart(total.length)}/${total} ${relative(file)}: ${parts.join(", ")} (${seconds(duration_ms)})\n`;
}

function list(failures: readonly string[]): string {
  return `\nfailed tests:\n${failures.map((title) => `✖ ${title}\n`).join("")}\n`;
}

function where({ file, line }: Event["data"]): string {
  return `${relative(file)}${line === undefined ? "" : `:${line}`}`;
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
