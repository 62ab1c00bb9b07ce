/**
 * Compares how TCP relays forward half-closes and resets:
 *
 *   node test/bench/relay-matrix.ts [--details] [RELAY...]
 *
 * Every case must end as it would on a plain connection, and leave no socket open 2 s after the client is gone. Exits
 * with 1 unless `direct` (no relay: it proves the harness) and each wakeport pass all cases, where they were asked for.
 */
import { parseArgs } from "node:util";
import { cases, type Link, type RelayCase } from "./cases.ts";
import { RemoteEndpoint } from "./control.ts";
import { Endpoint, type Report } from "./endpoint.ts";
import { Mismatch, poll } from "./expect.ts";
import { dial } from "./ports.ts";
import { exitOnSignals } from "./program.ts";
import { type Relay, relayNamed, relays } from "./relays.ts";
import { type Leftovers, Testbed } from "./testbed.ts";

interface Outcome {
  readonly verdict: string;
  readonly details: string;
}

export interface Score {
  readonly relay: string;
  readonly outcomes: readonly Outcome[];
  /** The reason that the relay could not be tested. */
  readonly trouble: string | null;
}

const CASE_DEADLINE_MS = 10_000;
const PASS = "ok";
const MUST_PASS = /^direct$|^wakeport/;

export async function scoreOf(relay: Relay): Promise<Score> {
  const missing = relay.missing();
  if (missing !== null) return { relay: relay.name, outcomes: [], trouble: `not installed (${missing})` };
  try {
    return { relay: relay.name, outcomes: await outcomesOf(relay), trouble: null };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { relay: relay.name, outcomes: [], trouble: `failed (${reason})` };
  }
}

async function outcomesOf(relay: Relay): Promise<Outcome[]> {
  await using testbed = await Testbed.open(relay);
  // The connection that started the relay must not count in the first case.
  await testbed.leftovers();
  const outcomes: Outcome[] = [];
  for (const [index, relayCase] of cases.entries()) {
    outcomes.push(await run(relayCase, `case-${index + 1}`, testbed));
  }
  return outcomes;
}

async function run(relayCase: RelayCase, id: string, testbed: Testbed): Promise<Outcome> {
  const relayBaseline = await testbed.relaySockets();
  const socket = dial(testbed.port);
  const link: Link = {
    client: new Endpoint(socket),
    server: new RemoteEndpoint(testbed.control, id),
    deadline: AbortSignal.timeout(CASE_DEADLINE_MS),
  };
  socket.write(`${id}\n`);
  const problem = await problemOf(relayCase, link);
  const seen = [`client ${describe(link.client.report())}`, `server ${await describeServer(link)}`];

  link.client.destroy();
  await link.server.endWithPeer();
  const left = await testbed.leftovers(relayBaseline);
  await testbed.control.ask({ op: "sweep" });

  const verdict = [problem, leakOf(left)].filter((part) => part !== null).join(" + ");
  return { verdict: verdict === "" ? PASS : verdict, details: [...seen, describeLeft(left)].join("; ") };
}

async function problemOf(relayCase: RelayCase, link: Link): Promise<string | null> {
  try {
    await expectArrival(link);
    await relayCase.play(link);
    return null;
  } catch (error) {
    if (error instanceof Mismatch) return error.message;
    throw error;
  }
}

async function expectArrival({ client, server, deadline }: Link): Promise<void> {
  await poll(async () => (await server.hasArrived()) || client.report().closed, deadline);
  if (!(await server.hasArrived())) throw new Mismatch(client.report().error ?? "hang, not connected");
}

function leakOf({ atServer, atRelay }: Leftovers): string | null {
  return atServer + atRelay === 0 ? null : "leak";
}

async function describeServer({ server }: Link): Promise<string> {
  return (await server.hasArrived()) ? describe(await server.report()) : "saw no connection";
}

function describe({ received, fin, error, closed }: Report): string {
  return [`${received} B`, fin && "FIN", error, !closed && "open"].filter(Boolean).join(", ");
}

function describeLeft({ atServer, atRelay }: Leftovers): string {
  return `left open ${atServer} at server, ${atRelay} at relay`;
}

/** The number of cases that a relay passed. */
export function passed({ outcomes }: Score): number {
  return outcomes.filter(({ verdict }) => verdict === PASS).length;
}

function tableOf(scores: readonly Score[]): string {
  const rows = [
    ["", ...scores.map(({ relay }) => relay)],
    ...cases.map(({ title }, index) => [
      `${String(index + 1).padStart(2)} ${title}`,
      ...scores.map(({ outcomes }) => outcomes[index]?.verdict ?? ""),
    ]),
    ["", ...scores.map((score) => `${passed(score)} of ${cases.length}`)],
  ];
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widthOf(rows, column))).join("  "));
  return lines.map((line) => line.trimEnd()).join("\n");
}

function widthOf(rows: readonly string[][], column: number): number {
  return Math.max(...rows.map((row) => row[column]?.length ?? 0));
}

function printDetails({ relay, outcomes }: Score): void {
  for (const [index, { details }] of outcomes.entries()) console.log(`${relay} ${index + 1}: ${details}`);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { details: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  exitOnSignals();
  const chosen = positionals.length === 0 ? relays : positionals.map(relayNamed);
  const scores: Score[] = [];
  for (const relay of chosen) scores.push(await scoreOf(relay));

  const judged = scores.filter(({ trouble }) => trouble === null);
  if (judged.length > 0) console.log(tableOf(judged));
  for (const { relay, trouble } of scores) if (trouble !== null) console.log(`${relay}: ${trouble}`);
  if (values.details) scores.forEach(printDetails);

  const mustPass = scores.filter(({ relay }) => MUST_PASS.test(relay));
  process.exitCode = mustPass.every((score) => passed(score) === cases.length) ? 0 : 1;
}

if (import.meta.main) await main();
