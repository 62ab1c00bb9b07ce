/** Requests a second that known load generators reach: small messages on open connections, and short connections. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { allTools, type Tool } from "../client-tools.ts";
import { missingOf } from "../programs.ts";
import { installed, openRelay } from "../relayed.ts";
import { relays } from "../relays.ts";
import type { Contestant, Field, Sample, Subject } from "../subject.ts";

const RUN_MS = 20_000;
/** Left out so that a round is short. */
const omitted = ["nginx", "socat"];
const run = promisify(execFile);

export const tools: Subject = {
  name: "tools",
  title: "Requests a second of known tools",
  metrics: allTools.map(({ name, title }) => ({ name, title, digits: 0 })),
  references: ["direct", "haproxy"],
  isIsolated: true,
  async open(owned): Promise<Field> {
    const { present, missing } = installed(relays.filter(({ name }) => !omitted.includes(name)));
    const lacks = allTools.flatMap(({ title, needs }) =>
      missingOf(needs) === null ? [] : `${title} (${missingOf(needs)})`,
    );
    const contestants = present.map(({ name }) => ({ name, ports: new Map<Tool, number>() }));
    for (const tool of allTools.filter(({ needs }) => missingOf(needs) === null)) {
      const serve = await tool.prepare(owned);
      for (const [index, relay] of present.entries()) {
        contestants[index]!.ports.set(tool, (await openRelay(relay, serve, owned)).port);
      }
    }
    return { contestants: contestants.map(contestant), missing: [...missing, ...lacks] };
  },
};

/** @param ports where each tool connects */
function contestant({ name, ports }: { name: string; ports: ReadonlyMap<Tool, number> }): Contestant {
  const measure = async (): Promise<Sample> => {
    const sample: Record<string, number> = {};
    for (const [tool, port] of ports) sample[tool.name] = await requestsPerSecond(tool, port);
    return sample;
  };
  return { name, measure };
}

async function requestsPerSecond(tool: Tool, port: number): Promise<number> {
  const [file = "", ...args] = tool.command(port);
  const { stdout } = await run(file, args, { timeout: RUN_MS });
  const found = tool.rate.exec(stdout)?.[1];
  if (found === undefined) throw new Error(`${file} printed no rate: ${stdout.slice(-300)}`);
  return Number(found);
}
