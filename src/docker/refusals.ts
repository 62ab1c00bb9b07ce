import { sentenceOf, type TargetError } from "../errors.ts";
import type { Operation } from "./faults.ts";

/** Operations whose refusal nobody would be told of otherwise: what needs them gets by without, or looks again later. */
const SILENT: ReadonlySet<Operation> = new Set(["version", "list", "inspect", "logs"]);

/**
 * What a socket proxy in front of the engine does not let through, as far as it was asked. It is taken back when the
 * same operation works, because the proxy's switches may be set at any time.
 */
export class Refusals {
  readonly #onRefusal: (sentence: string) => void;
  readonly #refused = new Map<Operation, TargetError>();
  readonly #told = new Set<Operation>();

  /** @param onRefusal is called once for each operation that is refused and would be missed without a word */
  constructor(onRefusal: (sentence: string) => void) {
    this.#onRefusal = onRefusal;
  }

  /** Whether the last answer to such an operation was a refusal. */
  has(operation: Operation): boolean {
    return this.#refused.has(operation);
  }

  refused(operation: Operation, error: TargetError): void {
    this.#refused.set(operation, error);
    if (!SILENT.has(operation) || this.#told.has(operation)) return;
    this.#told.add(operation);
    this.#onRefusal(sentenceOf(error));
  }

  worked(operation: Operation): void {
    this.#refused.delete(operation);
  }

  /** For people: what is refused, each with the switch to set. */
  get sentences(): string[] {
    return [...this.#refused.values()].map(sentenceOf);
  }
}
