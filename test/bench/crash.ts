/** The time from the exit of a target that crashes while it starts, by the engine's clock, to the reset of its client. */
import net from "node:net";
import Dockerode from "dockerode";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { exitOnSignals } from "./program.ts";
import { median } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const TARGETS = Number(process.argv[2] ?? 10);
const BAR_MS = 100;

/** Unix milliseconds at which the connection was reset. */
async function refusedAt(port: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.once("error", () => resolve(Date.now()));
  return promise.finally(() => socket.destroy());
}

exitOnSignals();
const docker = new Dockerode();
await using stack = new AsyncDisposableStack();
const targets: { name: string; listenPort: number }[] = [];
for (let index = 0; index < TARGETS; index += 1) {
  const listenPort = await freePort();
  const name = `wakeport-bench-crash-${listenPort}`;
  stack.use(await Container.createNode(name, "setTimeout(() => process.exit(3), 300)"));
  targets.push({ name, listenPort });
}
const services = targets.map(
  ({ name, listenPort }) => `  s${listenPort}: { ports: ["${listenPort}:7"], container: ${name} }\n`,
);
stack.use(await Wakeport.start(services.join("")));
const delays: number[] = [];
for (const { name, listenPort } of targets) {
  const refused = await refusedAt(listenPort);
  const { State } = await docker.getContainer(name).inspect();
  delays.push(refused - Date.parse(State.FinishedAt));
}
const [middle, worst] = [median(delays), Math.max(...delays)].map(Math.round);
console.log(
  `refused after the exit of a crashing target: median ${middle} ms, worst of ${TARGETS} ${worst} ms (bar: ${BAR_MS} ms)`,
);
process.exitCode = median(delays) <= BAR_MS ? 0 : 1;
