/**
 * A process with a data plane that relays one connection, and ends in the way of its argument:
 *
 *   node plane-process.ts exit | throw | wait | lose | early MS
 *
 * Prints the state of the data plane when the connection is in it. `lose` ends the worker, as a defect would. `early`
 * exits before it has received a message of the worker, after MS milliseconds.
 */
import { once } from "node:events";
import { readdirSync, readFileSync, writeSync } from "node:fs";
import { DataPlane } from "../../../src/dataplane/data-plane.ts";
import { loadSyscalls } from "../../../src/dataplane/syscalls.ts";
import { pair } from "../net/tcp.ts";

/** Closes the epoll descriptor of the worker, which is the only edge-triggered one. */
function damageWorker(): void {
  const epoll = readdirSync("/proc/self/fd").find((fd) => {
    try {
      return /^tfd:.*events: 8000/m.test(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"));
    } catch {
      return false;
    }
  });
  loadSyscalls().close(Number(epoll));
  client.far.send("wakes the worker");
}

const ways: Readonly<Record<string, () => void>> = {
  exit: () => process.exit(3),
  throw: () => {
    throw new Error("a defect");
  },
  wait: () => {},
  lose: damageWorker,
};

const plane = new DataPlane({
  maxPipes: 4,
  onProblem: (problem) => console.log(problem),
  onLost: (error) => {
    throw error;
  },
});
process.on("exit", () => plane.stop());
if (process.argv[2] === "early") {
  plane.prepare();
  const until = performance.now() + Number(process.argv[3]);
  while (performance.now() < until);
  process.exit(3);
}
await plane.ready();
const [client, upstream] = [await pair(), await pair()];
void plane.relay({
  client: client.near,
  upstream: upstream.near,
  meters: [],
  lost: new AbortController().signal,
});
client.far.send("bytes");
await once(upstream.far.socket, "data");
writeSync(1, `${plane.view.state}\n`);
ways[process.argv[2] ?? ""]?.();
