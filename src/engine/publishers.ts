import type { TakenPort } from "../errors.ts";
import type { Engine } from "./engine.ts";
import type { OwnContainer } from "./own-container.ts";

/**
 * Which containers publish these ports of this machine, a line each.
 *
 * @throws TargetError
 */
export async function publishersOf(
  taken: readonly TakenPort[],
  { engine, own }: { readonly engine: Engine; readonly own: OwnContainer },
  signal: AbortSignal,
): Promise<string[]> {
  const here = await own.look(signal);
  // In a network of its own, published ports of other containers are not in the way.
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
