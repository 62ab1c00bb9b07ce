/** States of a layer after its download. */
const FETCHED: ReadonlySet<string> = new Set([
  "Verifying Checksum",
  "Download complete",
  "Extracting",
  "Pull complete",
]);

const MB = 1e6;

/** Progress of a pull. Only layers whose download has begun count. */
export class PullProgress {
  readonly #layers = new Map<string, { done: number; total: number }>();

  /** Reads one line of the engine's report. */
  note(value: unknown): void {
    const { id, status, progressDetail } = record(value);
    if (typeof id !== "string" || typeof status !== "string") return;
    const { current, total } = record(progressDetail);
    const layer = this.#layers.get(id);
    if (status === "Downloading" && typeof current === "number") {
      const known = typeof total === "number" && total > 0 ? total : current;
      this.#layers.set(id, { done: current, total: Math.max(known, current) });
    } else if (layer !== undefined && FETCHED.has(status)) layer.done = layer.total;
  }

  get doneBytes(): number {
    return this.#sum("done");
  }

  /** Size of the known layers. */
  get totalBytes(): number {
    return this.#sum("total");
  }

  /** `43 %, 12 of 30 MB`; empty before the first layer. */
  get text(): string {
    return formatProgress(this.doneBytes, this.totalBytes);
  }

  #sum(part: "done" | "total"): number {
    return [...this.#layers.values()].reduce((sum, layer) => sum + layer[part], 0);
  }
}

/** Returns `43 %, 12 of 30 MB`, or an empty string if the total is not known. */
export function formatProgress(doneBytes: number, totalBytes: number): string {
  if (totalBytes === 0) return "";
  const megabytes = (bytes: number): string => (bytes / MB).toFixed(totalBytes < 10 * MB ? 1 : 0);
  return `${Math.floor((100 * doneBytes) / totalBytes)} %, ${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
