/**
 * The thread of the data plane, an entry point of its own. It blocks in epoll_wait, so no event of Node ever runs here:
 * commands arrive through a pipe, and early bytes through a port that is read synchronously.
 */
import { arch, platform } from "node:os";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { messageOf } from "../errors.ts";
import { Acceptor } from "./acceptor.ts";
import { type Command, decode, type EarlyMessage, flags, type ListenMessage, RECORD_BYTES } from "./commands.ts";
import { Core } from "./core.ts";
import type { Pair } from "./pair.ts";
import { Reports } from "./reports.ts";
import { dataPlaneProblem } from "./self-test.ts";
import { type DescriptorPair, loadSyscalls, type Syscalls } from "./syscalls.ts";
import { controls, MAX_PAIRS, type WorkerMessage, type WorkerOptions, workerStates } from "./worker-options.ts";

/** Records that are read at a time. */
const MAX_RECORDS = 256;
/** Enough for 4,096 records, the default of the kernel. */
const COMMAND_PIPE_BYTES = 64 * 1024;
/** Reports are collected for this time: a message costs the main thread more than a report. */
const REPORT_MS = 10;

const { counts, control, port, maxPipes } = workerData as WorkerOptions;

class WorkerLoop {
  readonly #syscalls: Syscalls;
  readonly #commands: DescriptorPair;
  readonly #records = Buffer.alloc(MAX_RECORDS * RECORD_BYTES);
  readonly #core: Core;
  readonly #acceptor: Acceptor;
  readonly #reports = new Reports();
  /** When the oldest report that was not sent was noticed; undefined without reports. */
  #reportsSince: number | undefined;
  /** Whether the reports must be sent at once. */
  #isUrgent = false;

  constructor(syscalls: Syscalls, commands: DescriptorPair) {
    this.#syscalls = syscalls;
    this.#commands = commands;
    this.#core = new Core({
      syscalls,
      architecture: arch(),
      maxPipes,
      onReceived: count,
      onConnected: (pair) => {
        // The slot may contain the counts of an earlier connection.
        count(pair);
        this.#acceptor.connected(pair);
      },
      onReturn: (pair) => {
        this.#acceptor.returned(pair);
        this.#isUrgent = true;
      },
      onEnd: (pair) => {
        this.#acceptor.ended(pair);
        this.#reports.ended(pair.slot, pair.end, pair.in.received, pair.out.received);
      },
    });
    this.#acceptor = new Acceptor({
      syscalls,
      core: this.#core,
      reports: this.#reports,
      limit: () => Atomics.load(control, controls.maxAccepted),
      firstSlot: MAX_PAIRS,
    });
    const isWatched = this.#core.watch(commands.read, () => this.#readCommands());
    if (!isWatched) throw new Error("epoll cannot watch the pipe of commands (see sysctl fs.epoll.max_user_watches)");
  }

  /** The descriptor that takes commands. */
  get commands(): number {
    return this.#commands.write;
  }

  /** Returns when the main thread has stopped the worker. */
  run(): void {
    while (Atomics.load(control, controls.state) === workerStates.running) {
      this.#core.turn(this.#untilReportMs);
      this.#sendDueReports();
    }
    this.#acceptor.close();
    this.#core.close();
    Atomics.store(control, controls.state, workerStates.stopped);
    Atomics.notify(control, controls.state);
    send({ reports: this.#reports.take() });
    this.#syscalls.close(this.#commands.read);
    this.#syscalls.close(this.#commands.write);
  }

  get #untilReportMs(): number {
    if (this.#reportsSince === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, Math.ceil(this.#reportsSince + REPORT_MS - performance.now()));
  }

  #sendDueReports(): void {
    if (this.#reports.isEmpty) return;
    this.#reportsSince ??= performance.now();
    if (!this.#isUrgent && this.#untilReportMs > 0) return;
    this.#reportsSince = undefined;
    this.#isUrgent = false;
    send({ reports: this.#reports.take() });
  }

  #readCommands(): void {
    const length = this.#syscalls.read(this.#commands.read, this.#records, this.#records.length);
    for (let offset = 0; offset < length; offset += RECORD_BYTES) this.#execute(decode(this.#records, offset));
  }

  #execute(command: Command): void {
    switch (command.kind) {
      case "add":
        return this.#add(command);
      case "cut":
        return this.#core.cut(command.slot, command.end);
      case "targetGone":
        return this.#core.targetGone(command.slot);
      case "listen":
        return this.#listen(command);
      case "unlisten":
        this.#isUrgent = true;
        return this.#acceptor.unlisten(command.slot);
      case "listenerTargetGone":
        return this.#core.eachOf(command.slot, (pair) => this.#core.targetGone(pair.slot));
      case "cutListener":
        return this.#core.eachOf(command.slot, (pair) => this.#core.cut(pair.slot, "drained"));
      case "stop":
        return;
    }
  }

  #listen({ slot: id, fd }: Command & { readonly kind: "listen" }): void {
    this.#acceptor.listen({ id, fd, ...(receiveMessageOnPort(port)?.message as ListenMessage) });
  }

  #add({ slot, client, upstream, flags: facts }: Command & { readonly kind: "add" }): void {
    const has = (flag: number): boolean => (facts & flag) !== 0;
    const early = has(flags.hasEarlyBytes) ? (receiveMessageOnPort(port)?.message as EarlyMessage) : undefined;
    this.#core.add({
      slot,
      client,
      upstream,
      received: { in: counts[2 * slot]!, out: counts[2 * slot + 1]! },
      early: {
        client: earlyOf(early?.client, has(flags.isClientTls), has(flags.isClientBroken)),
        upstream: earlyOf(early?.upstream, has(flags.isUpstreamTls), has(flags.isUpstreamBroken)),
      },
    });
  }
}

function earlyOf(bytes: Uint8Array = new Uint8Array(), isTls: boolean, isBroken: boolean) {
  return { bytes: Buffer.from(bytes), isTls, isBroken };
}

function count({ slot, in: up, out }: Pair): void {
  counts[2 * slot] = up.received;
  counts[2 * slot + 1] = out.received;
}

function send(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

function start(): WorkerLoop | undefined {
  const problem = dataPlaneProblem(platform(), arch());
  if (problem !== undefined) return void send({ problem });
  try {
    const syscalls = loadSyscalls();
    const commands = syscalls.pipe(COMMAND_PIPE_BYTES);
    if (typeof commands === "number") throw new Error("no pipe can be opened");
    const loop = new WorkerLoop(syscalls, commands);
    send({ commands: commands.write });
    return loop;
  } catch (error) {
    send({ problem: messageOf(error) });
    return undefined;
  }
}

const loop = start();
// The message with the descriptor is not received at the exit of the process.
Atomics.store(control, controls.commands, loop?.commands ?? -1);
Atomics.notify(control, controls.commands);
loop?.run();
