/** The worker of the data plane, as the main thread sees it. */
import { writeSync } from "node:fs";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { messageOf } from "../errors.ts";
import { type Command, type EarlyMessage, encode, type ListenMessage } from "./commands.ts";
import { type ReportHandler, readReports } from "./reports.ts";
import { loadSyscalls, type Syscalls } from "./syscalls.ts";
import { controls, type WorkerMessage, type WorkerOptions, workerStates } from "./worker-options.ts";

/** Pause before a command is written again to a full pipe. */
const RETRY_MS = 1;
/** Limit of the wait for a worker that still starts at the exit of the process. */
const START_MS = 2_000;
/** Limit of the wait for the resets at the exit of the process. */
const STOP_MS = 1_000;
/** Without limits, Node reserves three times the memory for the heap of a thread. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 512, stackSizeMb: 1 };

export interface PlaneWorkerOptions extends Omit<WorkerOptions, "control" | "port"> {
  readonly onReady: () => void;
  /** Called once if the data plane cannot work here. */
  readonly onProblem: (problem: string) => void;
  readonly reports: ReportHandler;
  /** Called if the worker ends on its own after its start: the connections in it are lost. */
  readonly onLost: (error: Error) => void;
}

export class PlaneWorker {
  readonly #options: PlaneWorkerOptions;
  readonly #control = new Int32Array(
    new SharedArrayBuffer(Object.keys(controls).length * Int32Array.BYTES_PER_ELEMENT),
  );
  readonly #port: MessagePort;
  readonly #worker: Worker;
  readonly #exited = Promise.withResolvers<void>();
  #syscalls: Syscalls | undefined;
  #commands = -1;
  /** Commands for which the pipe had no room. */
  readonly #backlog: Buffer[] = [];
  #error: unknown;
  #hasStarted = false;
  #isOver = false;

  /** @throws Error if the system has no thread */
  constructor(options: PlaneWorkerOptions) {
    this.#options = options;
    const { counts, maxPipes } = options;
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    this.#port = port1;
    const workerData: WorkerOptions = { counts, maxPipes, control: this.#control, port: port2 };
    const worker = new Worker(entry(), {
      name: "data-plane",
      workerData,
      transferList: [port2],
      execArgv: [],
      env: {},
      resourceLimits: RESOURCE_LIMITS,
    });
    worker.unref();
    worker.on("message", (message: WorkerMessage) => this.#onMessage(message));
    worker.on("error", (error) => {
      this.#error = error;
    });
    worker.on("exit", () => this.#onExit());
    this.#worker = worker;
  }

  /** Sends a command. Commands arrive in order. */
  send(command: Command): void {
    this.#backlog.push(encode(command));
    if (this.#backlog.length === 1) this.#flush();
  }

  /** Sends what belongs to the next command that needs a message. */
  sendMessage(message: EarlyMessage | ListenMessage): void {
    this.#port.postMessage(message);
  }

  /** Limits the connections that the worker accepts at a time. */
  limitAccepted(limit: number): void {
    Atomics.store(this.#control, controls.maxAccepted, limit);
  }

  /**
   * Blocks until the worker has reset its connections, for the exit of the process. Node waits for a worker at the exit,
   * but cannot interrupt epoll_wait, and runs no more code of the worker after it. It aborts the process if the worker is
   * loading koffi.
   */
  stop(): void {
    this.#requestStop();
    Atomics.wait(this.#control, controls.commands, 0, START_MS);
    const commands = Atomics.load(this.#control, controls.commands);
    if (commands <= 0) return;
    if (this.#commands < 0) wake(commands);
    Atomics.wait(this.#control, controls.state, workerStates.stopping, STOP_MS);
  }

  /** Resets all connections of the worker, and waits for its end. */
  async close(): Promise<void> {
    this.#requestStop();
    this.#worker.ref();
    await this.#exited.promise;
  }

  #requestStop(): void {
    this.#isOver = true;
    Atomics.compareExchange(this.#control, controls.state, workerStates.running, workerStates.stopping);
    // A full pipe wakes the worker as well.
    if (this.#commands >= 0) this.#write(encode({ kind: "stop" }));
  }

  #onMessage(message: WorkerMessage): void {
    if ("reports" in message) return readReports(message.reports, this.#options.reports);
    if ("problem" in message) return this.#fail(message.problem);
    try {
      this.#syscalls = loadSyscalls();
      this.#commands = message.commands;
    } catch (error) {
      Atomics.store(this.#control, controls.state, workerStates.stopping);
      writeSync(message.commands, encode({ kind: "stop" }));
      return this.#fail(messageOf(error));
    }
    this.#hasStarted = true;
    if (this.#isOver) this.#requestStop();
    else this.#options.onReady();
  }

  #fail(problem: string): void {
    this.#isOver = true;
    this.#options.onProblem(problem);
  }

  #onExit(): void {
    this.#commands = -1;
    Atomics.store(this.#control, controls.commands, -1);
    this.#port.close();
    this.#exited.resolve();
    if (this.#isOver) return;
    const error = this.#error === undefined ? "" : `: ${messageOf(this.#error)}`;
    const message = `the worker of the data plane ended${error}`;
    if (!this.#hasStarted) return this.#fail(message);
    this.#options.onLost(new Error(message, { cause: this.#error }));
  }

  #flush(): void {
    for (let record = this.#backlog[0]; record !== undefined; record = this.#backlog[0]) {
      if (!this.#write(record)) return void setTimeout(() => this.#flush(), RETRY_MS);
      this.#backlog.shift();
    }
  }

  /** @returns false if the pipe is full */
  #write(record: Buffer): boolean {
    return this.#commands < 0 || this.#syscalls!.write(this.#commands, record, record.length) === record.length;
  }
}

/** Wakes a worker whose message with this descriptor was not received. */
function wake(commands: number): void {
  try {
    writeSync(commands, encode({ kind: "stop" }));
  } catch {
    // It has ended, and closed the descriptor.
  }
}

/** The file of the worker: beside this one, as source or compiled. */
function entry(): URL {
  const isSource = import.meta.url.endsWith(".ts");
  return new URL(isSource ? "./worker.ts" : "./worker.js", import.meta.url);
}
