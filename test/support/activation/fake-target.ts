/**
 * A target that the test controls. Calls stay open until the test finishes or fails them, so that each order of events can
 * be tested. The status is independent of the calls: the test also acts as another process that starts and stops it.
 */

import type { Exit } from "../../../src/activation/errors.ts";
import type { SleepAction, Target, TargetStatus } from "../../../src/activation/target.ts";
import { abortable } from "../../../src/async/wait.ts";

/** One call, open until it is answered, or until its signal is aborted. */
export class Call<T> {
  readonly signal: AbortSignal;
  /** The status at the time of the call. */
  readonly before: TargetStatus;
  readonly #answer = Promise.withResolvers<T>();
  #isOpen = true;
  #hasFailed = false;

  /** @param abortDelayMs from the abort to the rejection; 0 is at once, Infinity never */
  constructor(signal: AbortSignal, options: { readonly before: TargetStatus; readonly abortDelayMs: number }) {
    this.signal = signal;
    this.before = options.before;
    const giveUp = (): void => this.#giveUp(options.abortDelayMs);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  get promise(): Promise<T> {
    return this.#answer.promise;
  }

  resolve(value: T): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#answer.resolve(value);
  }

  reject(reason: unknown): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#hasFailed = true;
    this.#answer.reject(reason);
  }

  #giveUp(afterMs: number): void {
    const rejectNow = (): void => this.reject(this.signal.reason);
    if (afterMs === 0) rejectNow();
    else if (afterMs !== Number.POSITIVE_INFINITY) setTimeout(rejectNow, afterMs);
  }
}

export class FakeTarget implements Target {
  readonly name = "fake";
  graceMs = 10_000;

  /** All calls so far, in order. */
  readonly starts: Call<"started" | "already">[] = [];
  readonly stops: Call<void>[] = [];
  /** The action of each stop. */
  readonly sleeps: SleepAction[] = [];
  readonly inspections: Call<TargetStatus>[] = [];
  /** Calls of `keptAwakeBy` after `measureUse`. */
  readonly measurements: Call<readonly string[]>[] = [];

  /** Starts succeed at once, stops after `stopTakesMs`. */
  isPrompt = false;
  stopTakesMs = 0;
  /** Inspections are answered at once with the current status. */
  answersInspections = true;
  /** Milliseconds for which an aborted call stays open. */
  abortDelayMs = 0;
  /** Each change of the status causes one event. */
  hintsChanges = true;

  /** Returns direct use of the target; absent: the target has no such use. */
  keptAwakeBy?: NonNullable<Target["keptAwakeBy"]>;

  /** From now on each measurement is a call of its own. It finds no use while `answersInspections`. */
  measureUse(): void {
    this.keptAwakeBy = (_trafficBytes, signal) => {
      const call = this.#open(this.measurements, signal);
      this.onMeasurement(call);
      if (this.answersInspections && call.isOpen) call.resolve([]);
      return call.promise;
    };
  }

  /** The output lines of the current run. */
  lines: readonly string[] = [];

  /** Called first in each call, for assertions. */
  onStart: () => void = () => {};
  onStop: () => void = () => {};
  /** Called before each change of the status. */
  onChange: (before: TargetStatus) => void = () => {};
  /** Called when a run ends. A pause does not end it. */
  onRunOver: (address: string) => void = () => {};

  onMeasurement: (call: Call<readonly string[]>) => void = () => {};

  readonly #watchers = new Set<() => void>();
  readonly #followers = new Set<{ readonly onLine: (line: string) => void; readonly end: () => void }>();
  #truth: TargetStatus = { up: false };
  #paused: TargetStatus | undefined;
  #runs = 0;

  get truth(): TargetStatus {
    return this.#truth;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** Starts a new run with a new address, as any process may do. */
  comeUp(): void {
    this.#runs += 1;
    this.lines = [];
    this.#become({ up: true, address: `10.0.0.${this.#runs}`, incarnation: `run ${this.#runs}` });
  }

  /** Changes the address within the run. @param noRoute why no connection is possible */
  moveTo(address: string, noRoute?: Error): void {
    if (!this.#truth.up) return;
    const { incarnation } = this.#truth;
    this.#become({ up: true, address, incarnation, ...(noRoute && { noRoute }) });
  }

  /** Pauses the target if it is up. */
  pause(): void {
    if (!this.#truth.up) return;
    this.#become({ up: false, pausedIncarnation: this.#truth.incarnation });
  }

  /** Unpauses the target if it is paused. */
  unpause(): void {
    if (this.#truth.up || this.#truth.pausedIncarnation === undefined || this.#paused === undefined) return;
    this.#become(this.#paused);
  }

  /** Ends the run. */
  goDown(exit?: Exit, options: { readonly isRestarting?: boolean; readonly endedAt?: number } = {}): void {
    this.#become({ up: false, ...(exit && { exit }), ...options });
  }

  hint(): void {
    for (const onChange of [...this.#watchers]) onChange();
  }

  /** Lets the open start succeed. */
  finishStart(): void {
    const call = theOpen(this.starts, "start");
    if (this.#truth.up) return call.resolve("already");
    this.applyStart();
    call.resolve("started");
  }

  /** The open start takes effect, but is not answered yet. */
  applyStart(): void {
    if (this.#truth.up) return;
    if (this.#truth.pausedIncarnation === undefined) this.comeUp();
    else this.unpause();
  }

  failStart(error: Error): void {
    theOpen(this.starts, "start").reject(error);
  }

  /** Lets the open stop succeed. */
  finishStop(): void {
    const call = theOpen(this.stops, "stop");
    this.applyStop();
    call.resolve();
  }

  /** The last stop takes effect, but is not answered yet. */
  applyStop(): void {
    if (this.sleeps.at(-1) === "pause") this.pause();
    else if (this.#truth.up || this.#truth.pausedIncarnation !== undefined) this.goDown();
  }

  failStop(error: Error): void {
    theOpen(this.stops, "stop").reject(error);
  }

  inspect(signal: AbortSignal): Promise<TargetStatus> {
    const call = this.#open(this.inspections, signal);
    if (this.answersInspections && call.isOpen) call.resolve(this.#truth);
    return call.promise;
  }

  start(signal: AbortSignal): Promise<"started" | "already"> {
    this.onStart();
    const call = this.#open(this.starts, signal);
    if (this.isPrompt && call.isOpen) this.finishStart();
    return call.promise;
  }

  sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    this.onStop();
    this.sleeps.push(action);
    const call = this.#open(this.stops, signal);
    if (this.isPrompt && this.stopTakesMs === 0 && call.isOpen) this.finishStop();
    else if (this.isPrompt) setTimeout(() => call.isOpen && this.finishStop(), this.stopTakesMs);
    return call.promise;
  }

  async lastLines(): Promise<readonly string[]> {
    return this.lines;
  }

  /** Writes one more output line. */
  print(line: string): void {
    this.lines = [...this.lines, line];
    for (const { onLine } of this.#followers) onLine(line);
  }

  async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    if (!this.#truth.up || this.#truth.incarnation !== incarnation) return;
    for (const line of this.lines) onLine(line);
    const { promise, resolve } = Promise.withResolvers<void>();
    const follower = { onLine, end: resolve };
    this.#followers.add(follower);
    await abortable(promise, signal).finally(() => this.#followers.delete(follower));
  }

  watch(onChange: () => void): Disposable {
    this.#watchers.add(onChange);
    return { [Symbol.dispose]: () => this.#watchers.delete(onChange) };
  }

  #open<T>(calls: Call<T>[], signal: AbortSignal): Call<T> {
    const call = new Call<T>(signal, { before: this.#truth, abortDelayMs: this.abortDelayMs });
    calls.push(call);
    return call;
  }

  #become(truth: TargetStatus): void {
    this.onChange(this.#truth);
    const before = this.#truth.up ? this.#truth : this.#paused;
    const runAfter = truth.up ? truth.incarnation : truth.pausedIncarnation;
    const isOver = before?.up && runAfter !== before.incarnation;
    if (isOver) this.onRunOver(before.address);
    this.#paused = truth.up || truth.pausedIncarnation === undefined ? undefined : before;
    this.#truth = truth;
    for (const { end } of this.#followers) end();
    if (this.hintsChanges) this.hint();
  }
}

/** Returns the unanswered calls. */
export function openCalls<T>(calls: readonly Call<T>[]): Call<T>[] {
  return calls.filter((call) => call.isOpen);
}

function theOpen<T>(calls: readonly Call<T>[], what: string): Call<T> {
  const [call] = openCalls(calls);
  if (call === undefined) throw new Error(`no ${what} is under way`);
  return call;
}
