/** A thousand clients connect at once to a sleeping container; once more to one whose listen backlog is 10. */

import { freePort } from "../support/free-port.ts";
import { echoServer, visit } from "./clients.ts";
import { Container } from "./container.ts";
import { exitOnSignals } from "./program.ts";
import { quantile } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const CLIENTS = Number(process.argv[2] ?? 1_000);
const DEADLINE_MS = 60_000;

async function herd(title: string, listen: string): Promise<boolean> {
  const listenPort = await freePort();
  await using container = await Container.createNode(`wakeport-bench-herd-${listenPort}`, echoServer(listen));
  await using wakeport = await Wakeport.start(
    `  herd: { ports: ["${listenPort}:7"], container: ${container.name}, stop_grace: 1s }\n`,
  );
  const visits = await Promise.all(
    Array.from({ length: CLIENTS }, (_, index) => visit(listenPort, `client ${index}`, DEADLINE_MS)),
  );
  const lost = visits.filter(({ ok }) => !ok);
  const starts = wakeport.records("target.starting").length;
  const times = visits.map(({ ms }) => ms);
  const spread = [0, 0.5, 0.99, 1].map((share) => Math.round(quantile(times, share)));
  console.log(
    `${title}: ${CLIENTS} clients, ${starts} start, ${CLIENTS - lost.length} served, ${lost.length} lost; ` +
      `first ${spread[0]} ms, median ${spread[1]} ms, p99 ${spread[2]} ms, last ${spread[3]} ms`,
  );
  for (const { error } of lost.slice(0, 5)) console.log(`  ${error}`);
  const bad = wakeport
    .records("connection.closed")
    .filter(({ outcome, end }) => outcome !== "relayed" || end !== "clean");
  for (const record of bad.slice(0, 5)) console.log(`  ${JSON.stringify(record)}`);
  return lost.length === 0 && starts === 1;
}

exitOnSignals();
const plain = await herd("listen backlog 511", "backlog: 511");
const short = await herd("listen backlog 10", "backlog: 10");
process.exitCode = plain && short ? 0 : 1;
