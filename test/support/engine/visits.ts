/** Clients of a wakeport under test that check the server's name in every reply. */
import net from "node:net";
import { scheduler } from "node:timers/promises";

/** A server that sends `name` as its greeting, and before each echoed line. */
export function namedServer(name: string, port: number, note = ""): readonly string[] {
  const serve = `${note}echo "${name}"; while read -r line; do echo "${name} $line"; done`;
  return ["sh", "-c", `trap "exit 0" TERM; nc -ll -p ${port} -e sh -c '${serve}' & wait`];
}

/** So many bytes that two visits in one idle timeout exceed the background traffic of a network. */
const LINE = "x".repeat(400);
const LINE_EVERY_MS = 50;

export interface Visit {
  readonly service: string;
  /** Whether it got a reply. */
  readonly wasAnswered: boolean;
  /** `served`; `wrong: …` if another server replied; otherwise the failure. */
  readonly fate: string;
  readonly from: number;
  readonly to: number;
}

export interface VisitOptions {
  readonly service: string;
  readonly port: number;
  /** The name of its server. */
  readonly name: string;
  /** The time that it stays after the first reply, in milliseconds. */
  readonly stayMs: number;
  /** The longest wait for the first reply, in milliseconds. */
  readonly limitMs: number;
}

/** Visits a service once: waits for its name, then exchanges lines for some time. Never rejects. */
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

/** Events that may make visits fail, by service and time. */
export class Disturbances {
  readonly #all: { readonly services: ReadonlySet<string> | "all"; readonly from: number; to: number }[] = [];

  /** Begins a disturbance that lasts until the returned function is called. */
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

  /** The time from the last disturbance of the service to the visit, in milliseconds; 0 if they overlap. */
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

/** Visits services until `signal` is aborted. */
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
