import assert from "node:assert/strict";
import { StartTimeoutError } from "../../../src/activation/errors.ts";
import type { NamedProbe } from "../../../src/readiness/probe.ts";
import { eventually } from "../eventually.ts";

/** A probe under way. */
export class Running {
  state: "pending" | "ready" | "failed" = "pending";
  error: unknown;
  readonly #abort = new AbortController();

  constructor({ check }: NamedProbe) {
    check({ address: "127.0.0.1" }, this.#abort.signal).then(
      () => {
        this.state = "ready";
      },
      (error: unknown) => {
        this.state = "failed";
        this.error = error;
      },
    );
  }

  async addresses(): Promise<string> {
    await eventually("the probe ended", () => this.state !== "pending");
    return this.state;
  }

  /** Gives it up because it took too long. @returns what it says of that */
  async isTooLate(): Promise<string> {
    this.#abort.abort(new StartTimeoutError("too late"));
    assert.equal(await this.addresses(), "failed");
    return String(this.error);
  }

  /** Gives it up; it must reject with the reason at once. */
  async isGivenUp(): Promise<void> {
    assert.equal(this.state, "pending");
    const reason = new Error("the start was given up");
    this.#abort.abort(reason);
    assert.equal(await this.addresses(), "failed");
    assert.equal(this.error, reason);
  }
}
