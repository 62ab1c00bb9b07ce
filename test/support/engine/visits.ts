/** Clients that visit services of a wakeport under test, each of which checks the name in every answer. */
import net from "node:net";
import { scheduler } from "node:timers/promises";

/** A server that greets each client with `name` and puts it before each line that it sends back. */
export function namedServer(name: string, port: number, note = ""): readonly string[] {
  const serve = `${note}echo "${name}"; while read -r line; do echo "${name} $line"; done`;
  return ["sh", "-c", `trap "exit 0" TERM; nc -ll -p ${port} -e sh -c '${serve}' & wait`];
}

/** Enough that two of them in one idle timeout are more than the noise of a network. */
const LINE = "x".repeat(400);
const LINE_EVERY_MS = 50;

export interface Visit {
  readonly service: string;
  /** Whether it was answered before it ended. */
  readonly wasAnswered: boolean;
  /** `served`: it ended by itself; `wrong: …`: another server answered it; else how it failed. */
  readonly fate: string;
  readonly from: number;
  readonly to: number;
}

export interface VisitOptions {
  readonly service: string;
  readonly port: number;
  /** What its server is called. */
  readonly name: string;
  /** How long it stays once it was answered, in milliseconds. */
  readonly stayMs: number;
  /** How long it waits for the first answer. */
  readonly limitMs: number;
}

/** Visits a service once: waits for its name, then talks with it for a while. Never rejects. */
export function visit({ service, port, name, stayMs, limitMs }: VisitOptions): Promise<Visit> {
  const { promise, resolve } = Promise.withResolvers<Visit>();
  const from = performance.now();
  const socket = net.connect({ port, host: "127.0.0.1" });
  let rest = "";
  let wasAnswered = false;
  let talk: NodeJS.Timeout | undefined;
  let stay: NodeJS.Timeout | undefined;
  const limit = setTimeout(() => end("hung"), limitMs);
  function end(fate: string): void {
    clearTimeout(limit);
    clearTimeout(stay);
    clearInterval(talk);
    socket.destroy();
    resolve({ service, wasAnswered, fate, from, to: performance.now() });
  }
  socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  socket.on("end", () => end("ended"));
  socket.on("data", (chunk: Buffer) => {
    const lines = `${rest}${chunk}`.split("\n");
    rest = lines.pop() ?? "";
    const wrong = lines.find((line) => line !== name && line !== `${name} ${LINE}`);
    if (wrong !== undefined) return end(`wrong: ${wrong.slice(0, 60)}`);
    if (lines.length === 0 || wasAnswered) return;
    wasAnswered = true;
    clearTimeout(limit);
    stay = setTimeout(() => end("served"), stayMs);
    talk = setInterval(() => socket.write(`${LINE}\n`), LINE_EVERY_MS);
  });
  return promise;
}

/** Events that may make visits fail: what happened to which services, and when. */
export class Disturbances {
  readonly #all: { readonly services: ReadonlySet<string> | "all"; readonly from: number; to: number }[] = [];

  /** Begins one that lasts until the returned function is called. */
  begin(services: readonly string[] | "all"): () => void {
    const one = {
      services: services === "all" ? services : new Set(services),
      from: performance.now(),
      to: Number.POSITIVE_INFINITY,
    };
    this.#all.push(one);
    return () => {
      one.to = Math.min(one.to, performance.now());
    };
  }

  async during<T>(services: readonly string[] | "all", body: () => Promise<T>): Promise<T> {
    const over = this.begin(services);
    return body().finally(over);
  }

  /** How long before a visit the last disturbance of its service had ended, in milliseconds; 0: it happened meanwhile. */
  sinceLast({ service, from, to }: Visit): number {
    const before = this.#all.filter((one) => (one.services === "all" || one.services.has(service)) && one.from <= to);
    return Math.max(0, from - Math.max(...before.map((one) => one.to)));
  }
}

export interface CrowdOptions {
  readonly choices: () => readonly Omit<VisitOptions, "stayMs" | "limitMs">[];
  readonly random: () => number;
  readonly limitMs: number;
  readonly everyMs: number;
  readonly atOnce: number;
  readonly longestMs: number;
}

/** Visits that go on until `signal` is aborted. */
export async function crowd(options: CrowdOptions, signal: AbortSignal): Promise<readonly Visit[]> {
  const { choices, random, limitMs, everyMs, atOnce, longestMs } = options;
  const visits: Visit[] = [];
  const open = new Set<Promise<void>>();
  while (!signal.aborted) {
    await scheduler.wait(everyMs);
    const all = choices();
    const choice = all[Math.floor(random() * all.length)];
    const stayMs = random() < 0.7 ? 0 : random() * longestMs;
    if (choice === undefined || open.size >= atOnce) continue;
    const one = visit({ ...choice, stayMs, limitMs }).then((made) => {
      visits.push(made);
      open.delete(one);
    });
    open.add(one);
  }
  await Promise.all(open);
  return visits;
}
