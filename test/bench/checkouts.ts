/** The checkouts of wakeport that are measured. */
import { join } from "node:path";

export interface Checkout {
  /** The name of its row. */
  readonly name: string;
  readonly folder: string;
}

/** The one that contains this file. */
export const own: Checkout = { name: "wakeport", folder: join(import.meta.dirname, "../..") };

const before = process.env["WAKEPORT_BENCH_BEFORE"];

/** With the one of `npm run bench -- --before FOLDER`. */
export const checkouts: readonly Checkout[] = [
  own,
  ...(before === undefined ? [] : [{ name: "wakeport-before", folder: before }]),
];

/** The launcher of a checkout. */
export function launcherOf({ folder }: Checkout): string {
  return join(folder, "bin/wakeport");
}
