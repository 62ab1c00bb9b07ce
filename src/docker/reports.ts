/** What the connection to the engine reports, once for each event. */

/** One call to the engine. `code` is the HTTP status, "timeout", or "error" when there was no answer. */
export interface EngineCall {
  readonly operation: string;
  readonly code: string;
  readonly durationMs: number;
}

/** Progress of a pull. Reported at its start, every 5 s, and at its end. */
export interface PullReport {
  readonly image: string;
  readonly stage: "begun" | "under way" | "done" | "failed";
  readonly durationMs: number;
  /** Size of the layers whose download has begun; 0 before the first one. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly error?: Error;
}

/** Receives the reports about the engine. */
export interface EngineObserver {
  engineCall(call: EngineCall): void;
  engineUp(description: string): void;
  engineDown(error: Error): void;
  eventsReconnected(): void;
  pull(report: PullReport): void;
  /** A fact that the operator should know. */
  warning(event: string, message: string): void;
}
