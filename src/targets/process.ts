import type { SleepAction, Target, TargetStatus, UseMoment } from "../activation/target.ts";
import { abortable } from "../async/wait.ts";
import { TargetError } from "../errors.ts";
import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import { directConnections } from "../net/direct-connections.ts";
import { readSocketRows } from "../net/proc-net.ts";
import { LAST_LINES, shortened } from "./lines.ts";
import type { Output } from "./output.ts";
import { ProcessIncarnation, type ProcessOptions } from "./process-incarnation.ts";
import { Launcher } from "./spawn.ts";

/** Time to detect that another process listens on the port. */
const OCCUPIED_DIAL_MS = 500;

/**
 * A local process as a target. It runs without a shell, with its own environment, in its own process group. A stop ends
 * the whole group, so that its children end as well.
 */
export class ProcessTarget implements Target {
  readonly name: string;
  readonly graceMs: number;
  readonly #options: ProcessOptions;
  readonly #launcher: Launcher;
  readonly #watchers = new Set<() => void>();
  #predecessorsEnded: () => Promise<unknown> = () => Promise.resolve();
  /** Undefined before the first start and after a stop. */
  #incarnation: ProcessIncarnation | undefined;
  /** Of the current incarnation or the last one. */
  #output: Output | undefined;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#launcher = new Launcher(options);
    this.name = options.name;
    this.graceMs = options.graceMs;
  }

  async inspect(): Promise<TargetStatus> {
    const incarnation = this.#incarnation;
    if (incarnation === undefined) return { up: false };
    if (incarnation.exit !== undefined) return { up: false, exit: incarnation.exit };
    const { listenerPort: port, id } = incarnation;
    const handed = port !== undefined && { port, isUntried: true };
    return { up: true, address: this.#options.listen.host, ...handed, incarnation: id };
  }

  /** The configured port; undefined if wakeport chooses one. */
  get port(): number | undefined {
    return this.#options.listen.port;
  }

  /** Delays each start until this promise settles: processes that this one replaces must end first. It never rejects. */
  startAfter(predecessorsEnded: () => Promise<unknown>): void {
    this.#predecessorsEnded = predecessorsEnded;
  }

  async start(signal: AbortSignal): Promise<"started" | "already"> {
    if (this.#incarnation !== undefined && this.#incarnation.exit === undefined) return "already";
    await abortable(this.#predecessorsEnded(), signal);
    if (this.#options.listenerName === undefined) await this.#rejectOccupiedPort(signal);
    this.#output = undefined;
    const onEnd = (): void => {
      for (const onChange of this.#watchers) onChange();
    };
    this.#incarnation = await ProcessIncarnation.start(this.#options, this.#launcher, onEnd);
    this.#output = this.#incarnation.output;
    return "started";
  }

  async keptAwakeBy(
    trafficBytes: number | undefined,
    _signal?: AbortSignal,
    { isHeld = false }: UseMoment = {},
  ): Promise<readonly string[]> {
    const incarnation = this.#incarnation;
    if (isHeld || trafficBytes === undefined || incarnation === undefined || incarnation.exit !== undefined) return [];
    const rows = await Promise.all([readSocketRows("tcp"), readSocketRows("tcp6")]);
    const port = incarnation.listenerPort ?? this.port;
    return [...directConnections(rows.flat(), incarnation.sockets, port)].map(([at, count]) => {
      return `${count} direct ${count === 1 ? "connection" : "connections"} to port ${at}`;
    });
  }

  async sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    if (action === "pause") throw new TargetError("invalid", `${this.name}: a process cannot be paused`);
    const incarnation = this.#incarnation;
    if (incarnation === undefined || incarnation.hasEndedByItself) return;
    await incarnation.stop(action === "kill" ? 0 : this.graceMs, signal);
    if (this.#incarnation === incarnation) this.#incarnation = undefined;
  }

  async lastLines(signal: AbortSignal, limit: number = LAST_LINES): Promise<readonly string[]> {
    const output = this.#output;
    if (output === undefined) return [];
    // The exit may be known before the last output is read. A process outside the group may keep the pipe open.
    if (!(await this.inspect()).up) await abortable(output.ended, signal).catch(() => {});
    return output.last(limit).map(shortened);
  }

  async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    if (this.#incarnation?.id === incarnation) await this.#output?.follow(onLine, signal);
  }

  watch(onChange: () => void): Disposable {
    this.#watchers.add(onChange);
    return { [Symbol.dispose]: () => this.#watchers.delete(onChange) };
  }

  /** Kills the whole process group and does not wait: for the end of wakeport without a drain. */
  kill(): void {
    this.#incarnation?.kill();
  }

  /** Another process on the port would be mistaken for this one and get its clients. */
  async #rejectOccupiedPort(signal: AbortSignal): Promise<void> {
    const { host, port } = this.#options.listen;
    if (port === undefined) return;
    const socket = await dial({ host, port, timeoutMs: OCCUPIED_DIAL_MS, signal, isProbe: true }).catch(
      () => undefined,
    );
    signal.throwIfAborted();
    if (socket === undefined) return;
    closeGracefully(socket);
    throw new TargetError("conflict", `another process already listens on ${host}:${port}`, {
      remedy: `find it with "ss -ltnp", end it, or give ${this.name} another port in "listen"`,
    });
  }
}
