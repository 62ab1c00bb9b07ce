import type { TakenPort } from "../errors.ts";
import type { Engine } from "./engine.ts";
import type { OwnContainer } from "./own-container.ts";

/**
 * Returns one line for each container that publishes one of these ports on this machine.
 *
 * @throws TargetError
 */
export async function publishedBy(
  taken: readonly TakenPort[],
  { engine, own }: { readonly engine: Engine; readonly own: OwnContainer },
  signal: AbortSignal,
): Promise<string[]> {
  const here = await own.inspect(signal);
  // In wakeport's own network namespace, published ports of other containers do not conflict.
  if (here !== undefined && here.networkMode !== "host") return [];
  const published = await engine.published(signal);
  const lines = taken.flatMap(({ port, protocol }) => {
    const found = published.find((one) => one.port === port && one.protocol === protocol);
    return found === undefined ? [] : [lineOf(found.container, `${port}${protocol === "udp" ? "/udp" : ""}`)];
  });
  return [...new Set(lines)];
}

function lineOf(container: string, port: string): string {
  return `container ${container} publishes port ${port}: remove it from "ports:" of that container and recreate it`;
}
