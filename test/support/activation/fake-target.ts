/**
 * A target to which nothing happens but what the test says. Calls stay open until the test finishes or fails them, so
 * that every order of events can be forced. What is true of the target is apart from what was asked of it: somebody
 * else may bring it up or take it down at any time.
 */

import type { Exit } from "../../../src/activation/errors.ts";
import type { SleepAction, Target, TargetStatus } from "../../../src/activation/target.ts";
import { abortable } from "../../../src/async/wait.ts";

/** One call, open until it is answered, or until its signal is aborted. */
export class Call<T> {
  readonly signal: AbortSignal;
  /** What was true when the call came. */
  readonly before: TargetStatus;
  readonly #answer = Promise.withResolvers<T>();
  #isOpen = true;
  #hasFailed = false;

  /** @param givesUpAfterMs from the abort to the rejection; 0 is at once, Infinity never */
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

  /** All calls so far, in order; their number is the count. */
  readonly starts: Call<"started" | "already">[] = [];
  readonly stops: Call<void>[] = [];
  /** What each of the stops was to do. */
  readonly sleeps: SleepAction[] = [];
  readonly inspections: Call<TargetStatus>[] = [];
  /** What `asksAboutUse` has made of the questions what keeps the target awake. */
  readonly measurements: Call<readonly string[]>[] = [];

  /** Starts succeed at once, stops after `stopTakesMs`. */
  isPrompt = false;
  stopTakesMs = 0;
  /** Looks are answered at once, with what is true then. */
  answersInspections = true;
  /** How long an aborted call stays open: a target may take its time to give up. */
  abortDelayMs = 0;
  /** Each change of what is true is hinted at, once. */
  hintsChanges = true;

  /** Answers what uses the target without wakeport; absent: the target has no such use. */
  keptAwakeBy?: NonNullable<Target["keptAwakeBy"]>;

  /** From now on what keeps the target awake is a call of its own. Nothing does while `answersLooks`. */
  measureUse(): void {
    this.keptAwakeBy = (_trafficBytes, signal) => {
      const call = this.#open(this.measurements, signal);
      this.onMeasurement(call);
      if (this.answersInspections && call.isOpen) call.resolve([]);
      return call.promise;
    };
  }

  /** What it has printed in its present life. */
  lines: readonly string[] = [];

  /** Run in each call, before anything else: for what must hold whenever a target is started or stopped. */
  onStart: () => void = () => {};
  onStop: () => void = () => {};
  /** Runs before each change of what is true. */
  onChange: (before: TargetStatus) => void = () => {};
  /** Runs when a life ends; what is frozen lives. */
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

  /** Whoever did it: it is up now, in a new life with an address of its own, and its ports answer. */
  comeUp(): void {
    this.#runs += 1;
    this.lines = [];
    this.#become({ up: true, address: `10.0.0.${this.#runs}`, incarnation: `life ${this.#runs}` });
  }

  /** It answers at another address, in the same life; without one it cannot be dialled, for this reason. */
  moveTo(address: string, noRoute?: Error): void {
    if (!this.#truth.up) return;
    const { incarnation } = this.#truth;
    this.#become({ up: true, address, incarnation, ...(noRoute && { noRoute }) });
  }

  /** Whoever did it: it is paused now, if it was up. */
  pause(): void {
    if (!this.#truth.up) return;
    this.#become({ up: false, pausedIncarnation: this.#truth.incarnation });
  }

  /** Whoever did it: it goes on, if it was paused. */
  unpause(): void {
    if (this.#truth.up || this.#truth.pausedIncarnation === undefined || this.#paused === undefined) return;
    this.#become(this.#paused);
  }

  /** Whoever did it: it is down now. */
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

  /** The open start takes effect, though it is not answered yet. */
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

  /** The last stop takes effect, though it is not answered yet. */
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

  /** Prints a line more. */
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

/** The calls that wait for an answer. */
export function openCalls<T>(calls: readonly Call<T>[]): Call<T>[] {
  return calls.filter((call) => call.isOpen);
}

function theOpen<T>(calls: readonly Call<T>[], what: string): Call<T> {
  const [call] = openCalls(calls);
  if (call === undefined) throw new Error(`no ${what} is under way`);
  return call;
}
