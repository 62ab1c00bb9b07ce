import { setTimeout as delay } from "node:timers/promises";
import type { Report } from "./endpoint.ts";
import { payload, sha256 } from "./payload.ts";

const POLL_MS = 5;

/** Either end of a connection, seen from the harness. */
export interface Observed {
  report(): Report | Promise<Report>;
}

/** The relay behaved differently than a plain TCP connection; the message contains the difference. */
export class Mismatch extends Error {}

/** Exactly `bytes` bytes have arrived unchanged. */
export async function expectReceived(side: Observed, bytes: number, deadline: AbortSignal): Promise<void> {
  const report = await watch(side, (seen) => seen.received >= bytes || seen.fin, deadline);
  if (report.received < bytes) {
    const fate = isOver(report) ? "lost" : "hang";
    throw new Mismatch(`${fate}, ${report.received} of ${bytes}`);
  }
  if (report.received > bytes) throw new Mismatch(`${report.received - bytes} too many`);
  if (report.sha256 !== sha256(payload(bytes))) throw new Mismatch("corrupt");
}

/** At least `bytes` bytes have arrived. */
export async function expectFlow(side: Observed, bytes: number, deadline: AbortSignal): Promise<void> {
  const report = await watch(side, (seen) => seen.received >= bytes || seen.fin, deadline);
  if (report.received < bytes) throw new Mismatch(`stalled at ${report.received}`);
}

/** The peer has sent FIN; the own direction may still be open. */
export async function expectFin(side: Observed, deadline: AbortSignal): Promise<void> {
  const report = await watch(side, isOver, deadline);
  if (!report.fin) throw new Mismatch(report.error === null ? "hang, no FIN" : `${nameOf(report.error)}, not FIN`);
}

/** Exactly `bytes` bytes, then FIN, then an orderly close of both directions. */
export async function expectWhole(side: Observed, bytes: number, deadline: AbortSignal): Promise<void> {
  await expectReceived(side, bytes, deadline);
  await expectFin(side, deadline);
  const report = await watch(side, (seen) => seen.closed, deadline);
  if (!report.closed) throw new Mismatch("hang, not closed");
  if (report.error !== null) throw new Mismatch(`${nameOf(report.error)} after FIN`);
  await expectReceived(side, bytes, deadline);
}

/** The connection ends by a reset and not by a FIN, which would make a truncated file look whole. */
export async function expectReset(side: Observed, deadline: AbortSignal): Promise<void> {
  const report = await watch(side, isOver, deadline);
  if (!isOver(report)) throw new Mismatch("hang, no RST");
  // A busy sender may notice the FIN by a failing write (EPIPE); a reset alone gives ECONNRESET.
  if (report.fin || report.error === "EPIPE") throw new Mismatch("FIN, not RST");
  if (report.error !== "ECONNRESET") throw new Mismatch(`${nameOf(report.error)}, not RST`);
}

/** The connection ends with any error, which the sender gets if its receiver is gone. */
export async function expectBroken(side: Observed, deadline: AbortSignal): Promise<void> {
  const report = await watch(side, (seen) => seen.closed, deadline);
  if (!report.closed) throw new Mismatch("hang, not broken");
  if (report.error === null) throw new Mismatch("clean end");
}

export async function poll(isDone: () => Promise<boolean>, deadline: AbortSignal): Promise<boolean> {
  for (;;) {
    if (await isDone()) return true;
    if (deadline.aborted) return false;
    await delay(POLL_MS);
  }
}

/** Waits until `isDone`, at most until the connection is closed. @returns the last report */
async function watch(side: Observed, isDone: (seen: Report) => boolean, deadline: AbortSignal): Promise<Report> {
  let report = await side.report();
  await poll(async () => {
    report = await side.report();
    return isDone(report) || report.closed;
  }, deadline);
  return report;
}

function isOver(report: Report): boolean {
  return report.fin || report.closed;
}

function nameOf(error: string | null): string {
  if (error === "ECONNRESET") return "RST";
  return error ?? "clean end";
}
