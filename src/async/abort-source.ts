/** An AbortController that creates its signal at the first use: most connections end without one. */
export class AbortSource {
  #controller: AbortController | undefined;
  #reason: Error | undefined;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  throwIfAborted(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }

  /** Aborts the signal. Later calls change nothing. */
  abort(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const controller = this.#controller;
    // A later use gets a new signal, so that an aborted source needs no memory for the old one.
    this.#controller = undefined;
    controller?.abort(reason);
  }
}
