import assert from "node:assert/strict";
import { StartTimeoutError } from "../../../src/activation/errors.ts";
import type { NamedProbe } from "../../../src/readiness/probe.ts";
import { eventually } from "../eventually.ts";

/** A probe under way. */
export class Running {
  state: "pending" | "ready" | "failed" = "pending";
  error: unknown;
  readonly #controller = new AbortController();

  constructor({ check }: NamedProbe) {
    check({ address: "127.0.0.1" }, this.#controller.signal).then(
      () => {
        this.state = "ready";
      },
      (error: unknown) => {
        this.state = "failed";
        this.error = error;
      },
    );
  }

  /** Waits until the probe ended. */
  async result(): Promise<string> {
    await eventually("the end of the probe", () => this.state !== "pending");
    return this.state;
  }

  /** Aborts the probe with a timeout. @returns its error */
  async timeOut(): Promise<string> {
    this.#controller.abort(new StartTimeoutError("too late"));
    assert.equal(await this.result(), "failed");
    return String(this.error);
  }

  /** Aborts the probe, which must reject with the reason at once. */
  async abort(): Promise<void> {
    assert.equal(this.state, "pending");
    const reason = new Error("the start was aborted");
    this.#controller.abort(reason);
    assert.equal(await this.result(), "failed");
    assert.equal(this.error, reason);
  }
}
