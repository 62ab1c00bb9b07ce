/** A dependency of which a test says when it is there, when it fails and when it goes down. */
import type { Dependency, DependencyLease } from "../../../src/activation/dependency-leases.ts";

/** Knows whether it was given back, and how often. */
export class FakeLease implements DependencyLease {
  readonly #cut = new AbortController();
  disposals = 0;

  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  get isHeld(): boolean {
    return this.disposals === 0 && !this.#cut.signal.aborted;
  }

  /** The dependency went down under it. */
  cut(reason: Error): void {
    this.#cut.abort(reason);
  }

  [Symbol.dispose](): void {
    this.disposals += 1;
  }
}

/** One claim or join, open until the test answers it. */
export class LeaseRequest {
  readonly signal: AbortSignal;
  readonly lease: FakeLease = new FakeLease();
  readonly #answer = Promise.withResolvers<DependencyLease>();

  /** @param isStubborn it takes no notice of its signal */
  constructor(signal: AbortSignal, isStubborn: boolean) {
    this.signal = signal;
    if (isStubborn) return;
    if (signal.aborted) this.fail(signal.reason);
    signal.addEventListener("abort", () => this.fail(signal.reason), { once: true });
  }

  get promise(): Promise<DependencyLease> {
    return this.#answer.promise;
  }

  grant(): FakeLease {
    this.#answer.resolve(this.lease);
    return this.lease;
  }

  fail(error: unknown): void {
    this.#answer.reject(error);
  }
}

export class FakeDependency implements Dependency {
  readonly name: string;
  readonly leases: LeaseRequest[] = [];
  readonly joins: LeaseRequest[] = [];
  /** Answers come even when nobody wants them any more. */
  isStubborn = false;

  constructor(name: string) {
    this.name = name;
  }

  /** How many of its holds keep it up at this moment. Only those that were granted count. */
  get held(): number {
    return this.#granted.filter((lease) => lease.isHeld).length;
  }

  readonly #granted: FakeLease[] = [];

  acquire(signal: AbortSignal): Promise<DependencyLease> {
    return this.#request(this.leases, signal);
  }

  join(signal: AbortSignal): Promise<DependencyLease> {
    return this.#request(this.joins, signal);
  }

  async #request(requests: LeaseRequest[], signal: AbortSignal): Promise<DependencyLease> {
    const request = new LeaseRequest(signal, this.isStubborn);
    requests.push(request);
    const lease = await request.promise;
    this.#granted.push(request.lease);
    return lease;
  }
}
