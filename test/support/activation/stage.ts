/** An activator with a fake target and virtual time. All its reports are recorded. */

import type { ActivationPolicy } from "../../../src/activation/activation-policy.ts";
import { Activator, type ActivatorOptions } from "../../../src/activation/activator.ts";
import type { Lease } from "../../../src/activation/lease.ts";
import type { ActivationReport, KeptAwakeReport, SleepReport, StateChange } from "../../../src/activation/reports.ts";
import type { Probe } from "../../../src/activation/target.ts";
import { observer } from "../../../src/telemetry/observer.ts";
import { Call, FakeTarget } from "./fake-target.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const policy: ActivationPolicy = {
  idleTimeoutMs: 60_000,
  sleep: "stop",
  minUptimeMs: 0,
  startTimeoutMs: 30_000,
};

/** A client that acquires a lease. */
export class Client {
  readonly #leave = new AbortController();
  readonly sinceMs: number = Date.now();
  lease: Lease | undefined;
  error: unknown;

  constructor(activator: Activator, onSettled: (client: Client) => void = () => {}) {
    void activator.acquire(this.#leave.signal).then(
      (lease) => {
        this.lease = lease;
        onSettled(this);
      },
      (error) => {
        this.error = error;
        onSettled(this);
      },
    );
  }

  get isWaiting(): boolean {
    return this.lease === undefined && this.error === undefined;
  }

  get isHeld(): boolean {
    return this.lease?.isHeld === true;
  }

  get hasLeft(): boolean {
    return this.#leave.signal.aborted;
  }

  /** The reason of the cut; undefined while the lease is not cut. */
  get cutBy(): unknown {
    return this.lease?.signal.reason;
  }

  leave(reason: Error): void {
    this.#leave.abort(reason);
  }

  release(): void {
    this.lease?.[Symbol.dispose]();
  }
}

export interface StageParts extends Pick<ActivatorOptions, "dependencies" | "companions" | "group" | "bypass"> {
  /** The clock of another stage, for several activators in the same virtual time. */
  readonly clock?: VirtualClock;
}

export class Stage implements Disposable {
  readonly clock: VirtualClock;
  readonly target: FakeTarget = new FakeTarget();
  readonly activator: Activator;

  readonly probes: Call<void>[] = [];
  /** Probes of a target that is up succeed at once. */
  answersProbes = true;

  /** Reports what the last probe waits for. */
  reportPending: (pending: readonly string[]) => void = () => {};

  readonly changes: StateChange[] = [];
  changedAtMs = 0;
  /** The address of each run in which the target was ready. */
  readonly readyRuns: Set<string> = new Set();
  #probed = "";
  readonly activations: ActivationReport[] = [];
  readonly sleeps: SleepReport[] = [];
  readonly keptAwake: KeptAwakeReport[] = [];
  readonly stopFailures: { readonly error: Error; readonly retryMs: number }[] = [];

  /** The probe of the target. */
  readonly probe: Probe = (upstream, signal, onPending) => this.#probe(upstream.address, signal, onPending);

  constructor(changes: Partial<ActivationPolicy> = {}, { clock, ...parts }: StageParts = {}) {
    this.clock = clock ?? new VirtualClock();
    this.activator = new Activator({
      ...parts,
      target: this.target,
      probe: this.probe,
      policy: { ...policy, ...changes },
      services: ["web", "api"],
      observer: observer({
        state: (change) => this.#changed(change),
        activation: (report) => this.activations.push(report),
        sleep: (report) => this.sleeps.push(report),
        keptAwake: (report) => this.keptAwake.push(report),
        stopFailed: ({ error, retryMs }) => this.stopFailures.push({ error, retryMs }),
      }),
    });
  }

  get state(): string {
    return this.activator.view.state;
  }

  /** All states so far. */
  get path(): string[] {
    return ["asleep", ...this.changes.map(({ to }) => to)];
  }

  connect(onSettled?: (client: Client) => void): Client {
    return new Client(this.activator, onSettled);
  }

  settle(): Promise<void> {
    return this.clock.settle();
  }

  advance(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  /** Opens the activator and starts its target for one client. */
  async wake(): Promise<Client> {
    this.activator.open();
    const client = this.connect();
    await this.settle();
    this.target.finishStart();
    await this.settle();
    return client;
  }

  /** Wakes the target, then lets it idle until it is being stopped. */
  async wakeAndIdle(): Promise<void> {
    const client = await this.wake();
    client.release();
    await this.advance(policy.idleTimeoutMs);
  }

  [Symbol.dispose](): void {
    this.clock[Symbol.dispose]();
  }

  #changed(change: StateChange): void {
    this.changes.push(change);
    this.changedAtMs = this.clock.nowMs;
    if (change.to === "ready") this.readyRuns.add(this.#probed);
  }

  #probe(address: string, signal: AbortSignal, onPending: Parameters<Probe>[2]): Promise<void> {
    this.#probed = address;
    this.reportPending = onPending ?? (() => {});
    const call = new Call<void>(signal, { before: this.target.truth, abortDelayMs: this.target.abortDelayMs });
    this.probes.push(call);
    if (this.answersProbes && this.target.truth.up && call.isOpen) call.resolve();
    return call.promise;
  }
}
