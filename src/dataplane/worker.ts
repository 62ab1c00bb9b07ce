/**
 * The thread of the data plane, an entry point of its own. It blocks in epoll_wait, so no event of Node ever runs here:
 * commands arrive through a pipe, and early bytes through a port that is read synchronously.
 */
import { arch, platform } from "node:os";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { messageOf } from "../errors.ts";
import { type Command, decode, type EarlyMessage, flags, RECORD_BYTES, relayEnds } from "./commands.ts";
import { Core } from "./core.ts";
import type { Pair } from "./pair.ts";
import { dataPlaneProblem } from "./self-test.ts";
import { type DescriptorPair, loadSyscalls, type Syscalls } from "./syscalls.ts";
import { controls, type WorkerMessage, type WorkerOptions, workerStates } from "./worker-options.ts";

/** Records that are read at a time. */
const MAX_RECORDS = 256;
/** Enough for 4,096 records, the default of the kernel. */
const COMMAND_PIPE_BYTES = 64 * 1024;

const { counts, control, port, maxPipes } = workerData as WorkerOptions;

class WorkerLoop {
  readonly #syscalls: Syscalls;
  readonly #commands: DescriptorPair;
  readonly #records = Buffer.alloc(MAX_RECORDS * RECORD_BYTES);
  readonly #core: Core;
  /** Four numbers for each pair that ended: slot, end, bytes in, bytes out. */
  #ends: number[] = [];

  constructor(syscalls: Syscalls, commands: DescriptorPair) {
    this.#syscalls = syscalls;
    this.#commands = commands;
    this.#core = new Core({
      syscalls,
      architecture: arch(),
      maxPipes,
      onReceived: count,
      onEnd: ({ slot, end, in: up, out }) => this.#ends.push(slot, relayEnds.indexOf(end), up.received, out.received),
    });
    this.#core.watch(commands.read, () => this.#readCommands());
  }

  /** The descriptor that takes commands. */
  get commands(): number {
    return this.#commands.write;
  }

  /** Returns when the main thread has stopped the worker. */
  run(): void {
    while (Atomics.load(control, controls.state) === workerStates.running) {
      this.#core.turn();
      if (this.#ends.length > 0) this.#reportEnds();
    }
    this.#core.close();
    Atomics.store(control, controls.state, workerStates.stopped);
    Atomics.notify(control, controls.state);
    this.#reportEnds();
    this.#syscalls.close(this.#commands.read);
    this.#syscalls.close(this.#commands.write);
  }

  #reportEnds(): void {
    send({ ends: this.#ends });
    this.#ends = [];
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
      case "stop":
        return;
    }
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
