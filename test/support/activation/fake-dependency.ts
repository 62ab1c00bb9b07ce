/** A dependency that a test grants, fails and takes down. */
import type { Dependency, DependencyLease } from "../../../src/activation/dependency-leases.ts";

/** Counts its disposals. */
export class FakeLease implements DependencyLease {
  readonly #cut = new AbortController();
  disposals = 0;

  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  get isHeld(): boolean {
    return this.disposals === 0 && !this.#cut.signal.aborted;
  }

  /** The dependency went down. */
  cut(reason: Error): void {
    this.#cut.abort(reason);
  }

  [Symbol.dispose](): void {
    this.disposals += 1;
  }
}

/** A call of acquire() or join(), open until the test answers it. */
export class LeaseRequest {
  readonly signal: AbortSignal;
  readonly lease: FakeLease = new FakeLease();
  readonly #answer = Promise.withResolvers<DependencyLease>();

  /** @param isStubborn ignores its signal */
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
  /** Calls are granted even after they were aborted. */
  isStubborn = false;

  constructor(name: string) {
    this.name = name;
  }

  /** The number of granted leases that keep it up. */
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
