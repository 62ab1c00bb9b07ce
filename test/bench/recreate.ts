/**
 * A client every 50 ms, each for a tenth of a second, while compose recreates the target five times: which connections
 * failed, and why, and how often the engine started each container.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "../support/free-port.ts";
import type { Visit } from "./clients.ts";
import { exitOnSignals } from "./program.ts";
import { median } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
const EVERY_MS = 50;
/** Between two rounds, and before the first and after the last. */
const PAUSE_MS = 2_000;
/** The deadline of each of the two words of a client. */
const STAY_MS = 50;
const VISIT_MS = 20_000;
const COMMAND_MS = 60_000;
const run = promisify(execFile);

const server = `const server = require("net").createServer({ allowHalfOpen: true }, (s) => { s.on("error", () => {}); s.pipe(s); });
server.listen(7); process.on("SIGTERM", () => { server.close(); setTimeout(() => process.exit(0), 50); });`;

/** A compose project of one service, created and not started. */
class Project implements AsyncDisposable {
  readonly name: string;
  readonly #folder: string;

  private constructor(name: string, folder: string) {
    this.name = name;
    this.#folder = folder;
  }

  static async create(name: string): Promise<Project> {
    const project = new Project(name, await mkdtemp(join(tmpdir(), "wakeport-bench-")));
    const echo = { image: "node:24-bookworm-slim", command: ["node", "-e", server], container_name: name };
    const labels = { "wakeport-test": "bench" };
    await writeFile(project.#file, JSON.stringify({ services: { echo: { ...echo, labels } } }));
    await project.compose("up", "--no-start");
    return project;
  }

  async compose(...args: string[]): Promise<void> {
    await run("docker", ["compose", "-p", this.name, "-f", this.#file, ...args], { timeout: COMMAND_MS });
  }

  /** The number of starts of each of its containers, oldest first. @param since Unix milliseconds */
  async starts(since: number): Promise<readonly number[]> {
    const window = ["--since", (since / 1000).toFixed(3), "--until", (Date.now() / 1000).toFixed(3)];
    const filters = ["event=create", "event=start", `label=com.docker.compose.project=${this.name}`];
    const args = ["events", ...window, ...filters.flatMap((filter) => ["--filter", filter])];
    const { stdout } = await run("docker", [...args, "--format", "{{.Action}} {{.ID}}"], { timeout: COMMAND_MS });
    const counts = new Map<string, number>();
    for (const line of stdout.trim().split("\n")) {
      const [action, id = ""] = line.split(" ");
      counts.set(id, (counts.get(id) ?? 0) + (action === "start" ? 1 : 0));
    }
    return [...counts.values()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.compose("down", "--timeout", "1");
    await rm(this.#folder, { recursive: true });
  }

  get #file(): string {
    return join(this.#folder, "compose.yaml");
  }
}

/** Waits for an echo, stays for some time, and waits for another echo. */
async function converse(listenPort: number): Promise<Visit> {
  const began = performance.now();
  const socket = connect({ port: listenPort, host: "127.0.0.1", timeout: VISIT_MS });
  socket.once("timeout", () => socket.destroy(new Error("no reply in time")));
  // Rejects with the error of the connection; a clean end is not a reply.
  const ended = once(socket, "end").then(() => Promise.reject(new Error("ended")));
  try {
    let waitedMs = 0;
    for (const word of ["first", "second"]) {
      socket.write(word);
      const [echo] = (await Promise.race([once(socket, "data"), ended])) as [Buffer];
      if (echo.toString() !== word) throw new Error(`replied ${echo}`);
      waitedMs ||= performance.now() - began;
      await Promise.race([delay(STAY_MS), ended]);
    }
    return { ok: true, ms: waitedMs };
  } catch (error) {
    return { ok: false, ms: performance.now() - began, error: error instanceof Error ? error.message : String(error) };
  } finally {
    ended.catch(() => {});
    socket.destroy();
  }
}

/** Runs clients, one after the other, until it is stopped. @returns their outcomes */
async function crowd(listenPort: number, over: AbortSignal): Promise<readonly Visit[]> {
  const visits: Promise<Visit>[] = [];
  while (!over.aborted) {
    visits.push(converse(listenPort));
    await delay(EVERY_MS);
  }
  return Promise.all(visits);
}

/** The number of each text. */
function counted(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].map(([text, count]) => `  ${count} × ${text}\n`).join("");
}

exitOnSignals();
const began = Date.now() - 1_000;
const listenPort = await freePort();
await using project = await Project.create(`wakeport-bench-recreate-${listenPort}`);
await using wakeport = await Wakeport.start(`  echo: { ports: ["${listenPort}:7"], container: ${project.name} }\n`);
const over = new AbortController();
const crowding = crowd(listenPort, over.signal);
await delay(PAUSE_MS);
const took: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  const from = performance.now();
  await project.compose("up", "--detach", "--force-recreate");
  took.push(performance.now() - from);
  await delay(PAUSE_MS);
}
over.abort();
const visits = await crowding;
const failed = visits.filter(({ ok }) => !ok);
const starts = await project.starts(began);
const waits = visits.filter(({ ok }) => ok).map(({ ms }) => ms);
console.log(
  `${visits.length} clients, one every ${EVERY_MS} ms, while the target was recreated ${ROUNDS} times ` +
    `(${Math.round(median(took))} ms each): ${failed.length} failed; the longest wait of the others was ` +
    `${Math.round(Math.max(...waits))} ms, the median ${median(waits).toFixed(1)} ms`,
);
console.log(`as clients see it:\n${counted(failed.map(({ error }) => error ?? ""))}as wakeport sees it:`);
const closed = wakeport.records("connection.closed");
console.log(counted(closed.map(({ outcome, end, error }) => [outcome, end, error].filter(Boolean).join(", "))));
console.log(`starts of each container in turn: ${starts.join(", ")} (bar: 1)`);
process.exitCode = starts.every((count) => count === 1) ? 0 : 1;
