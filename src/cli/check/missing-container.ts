/** Suggests a compose service for a container that does not exist. */
import type { TargetSpec } from "../../config/config.ts";
import { suggest } from "../../config/yaml/suggest.ts";
import type { EngineParts } from "../../daemon/engine-parts.ts";
import { projectLabel, serviceLabel } from "../../docker/container-facts.ts";

type Reference = Extract<TargetSpec, { kind: "container" }>["reference"];

/** Returns a hint, or undefined if nothing similar exists. @throws TargetError */
export async function suggestReference(
  reference: Reference,
  { engine, own }: Pick<EngineParts, "engine" | "own">,
  signal: AbortSignal,
): Promise<string | undefined> {
  const ownProject = (await own.known(signal))?.project;
  if ("name" in reference) {
    const { name } = reference;
    const containers = await engine.listLabelled(`${serviceLabel}=${name}`, signal);
    const projects = [...new Set(containers.flatMap(({ labels }) => labels[projectLabel] ?? []))];
    const [first] = projects;
    if (first === undefined) return undefined;
    if (ownProject !== undefined && projects.includes(ownProject)) return hint(`service: ${name}`);
    if (projects.length === 1) return hint(`service: ${name}, project: ${first}`);
    return `${hint(`service: ${name}, project: NAME`)}, with one of ${projects.join(", ")}`;
  }
  const project = reference.project ?? ownProject;
  if (project === undefined) return undefined;
  const containers = await engine.listLabelled(`${projectLabel}=${project}`, signal);
  const near = suggest(reference.service, new Set(containers.flatMap(({ labels }) => labels[serviceLabel] ?? [])));
  return near === undefined ? undefined : `did you mean service "${near}"?`;
}

function hint(keys: string): string {
  return `if it is a compose service, write container: { ${keys} }`;
}
