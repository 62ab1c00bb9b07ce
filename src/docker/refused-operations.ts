import { sentenceOf, type TargetError } from "../errors.ts";
import type { Operation } from "./faults.ts";

/** Operations whose refusal is not visible otherwise: their callers continue without them, or retry later. */
const SILENT: ReadonlySet<Operation> = new Set(["version", "list", "inspect", "logs"]);

/**
 * Operations that a socket proxy in front of the engine refused. A later success removes the entry, because the
 * settings of a proxy may change.
 */
export class RefusedOperations {
  readonly #onRefusal: (sentence: string) => void;
  readonly #refused = new Map<Operation, TargetError>();
  readonly #reported = new Set<Operation>();

  /** @param onRefusal called once for each refused operation in `SILENT` */
  constructor(onRefusal: (sentence: string) => void) {
    this.#onRefusal = onRefusal;
  }

  /** Whether the last answer to this operation was a refusal. */
  has(operation: Operation): boolean {
    return this.#refused.has(operation);
  }

  refused(operation: Operation, error: TargetError): void {
    this.#refused.set(operation, error);
    if (!SILENT.has(operation) || this.#reported.has(operation)) return;
    this.#reported.add(operation);
    this.#onRefusal(sentenceOf(error));
  }

  succeeded(operation: Operation): void {
    this.#refused.delete(operation);
  }

  /** One message for each refused operation, with the setting to change. */
  get sentences(): string[] {
    return [...this.#refused.values()].map(sentenceOf);
  }
}
