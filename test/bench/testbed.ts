import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free-port.ts";
import { Control } from "./control.ts";
import { dialWhenOpen, relaySockets } from "./ports.ts";
import { Program } from "./program.ts";
import type { Relay, RunningRelay } from "./relays.ts";

const START_TIMEOUT_MS = 15_000;
const LEFTOVER_GRACE_MS = 2_000;
const POLL_MS = 10;

/** Sockets that are open after the clients are gone. */
export interface Leftovers {
  readonly atServer: number;
  readonly atRelay: number;
}

/** A relay with the server program behind it, ready for clients on `port`. */
export class Testbed implements AsyncDisposable {
  readonly port: number;
  readonly relayPid: number | null;
  readonly control: Control;
  readonly #upstreamPort: number;
  readonly #resources: AsyncDisposableStack;

  private constructor(running: RunningRelay, control: Control, upstreamPort: number, resources: AsyncDisposableStack) {
    this.port = running.port;
    this.relayPid = running.program?.pid ?? null;
    this.control = control;
    this.#upstreamPort = upstreamPort;
    this.#resources = resources;
  }

  static async open(relay: Relay): Promise<Testbed> {
    await using undo = new AsyncDisposableStack();
    const [port, controlPort] = [await freePort(), await freePort()];
    const command = serverCommand(port, controlPort);
    if (!relay.startsUpstream) {
      const server = await Program.start(command);
      undo.defer(() => server.stop());
    }
    const running = await relay.start({ port, command });
    undo.defer(() => running.stop());

    const control = await reachServer(running, controlPort);
    undo.defer(() => control.close());
    const testbed = new Testbed(running, control, port, undo.move());
    // The first connection may still be in the relay, and must not count as a leak of the first case.
    await testbed.leftovers();
    return testbed;
  }

  relaySockets(): Promise<number> {
    return relaySockets(this.port, this.#upstreamPort);
  }

  /** Waits, at most `graceMs`, for the close of all sockets except the `relayBaseline` ones that were open before. */
  async leftovers(relayBaseline = 0, graceMs = LEFTOVER_GRACE_MS): Promise<Leftovers> {
    const deadline = performance.now() + graceMs;
    for (;;) {
      const { open } = await this.control.ask({ op: "count" });
      const extra = Math.max(0, (await this.relaySockets()) - relayBaseline);
      if ((open === 0 && extra === 0) || performance.now() > deadline) return { atServer: open, atRelay: extra };
      await delay(POLL_MS);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }
}

function serverCommand(port: number, controlPort: number): string[] {
  return [process.execPath, join(import.meta.dirname, "matrix-server.ts"), String(port), String(controlPort)];
}

/** Keeps a connection through the relay until the server is up: some relays start it only for a client. */
async function reachServer({ port, program }: RunningRelay, controlPort: number): Promise<Control> {
  const timeout = AbortSignal.timeout(START_TIMEOUT_MS);
  const signal = program === null ? timeout : AbortSignal.any([timeout, program.ended]);
  const knock = await dialWhenOpen(port, signal);
  knock.on("error", () => {
    // A relay that starts faster than the server may drop the connection; the control connection shows when the server is up.
  });
  try {
    return new Control(await dialWhenOpen(controlPort, signal));
  } finally {
    knock.destroy();
  }
}
