import { readFile } from "node:fs/promises";

/** The memory of a process in MiB: resident, and proportional share. */
export async function memoryMiB(pid: number): Promise<{ rss: number; pss: number }> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)?.[1]) / 1024;
  return { rss: field("Rss"), pss: field("Pss") };
}
