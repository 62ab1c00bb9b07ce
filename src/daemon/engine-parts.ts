import type { EngineStatus } from "../admin/api.ts";
import type { Config } from "../config/config.ts";
import { Engine } from "../docker/engine.ts";
import { EngineEvents } from "../docker/events.ts";
import { parseEngineHost } from "../docker/host.ts";
import { OwnContainer } from "../docker/own-container.ts";
import { OwnDependencies } from "../docker/own-dependencies.ts";
import { Pulls } from "../docker/pulls.ts";
import { sentenceOf } from "../errors.ts";
import type { ContainerOptions } from "../targets/container-options.ts";
import { ContainerOwner } from "../targets/container-owner.ts";
import { CreatedContainerFinder } from "../targets/created-container-finder.ts";
import { Dependents } from "../targets/dependents.ts";
import { StopGuard } from "../targets/stop-guard.ts";
import type { Observer } from "../telemetry/observer.ts";

/** The engine, and the objects that all its targets share. */
export interface EngineParts {
  readonly engine: Engine;
  readonly events: EngineEvents;
  readonly own: OwnContainer;
  readonly owners: ContainerOptions["owners"];
  readonly guard: StopGuard;
  readonly owner: ContainerOwner;
  readonly createdContainers: CreatedContainerFinder;
  readonly pulls: Pulls;
}

/** @param isQuiet whether all targets sleep @throws TargetError if the engine's address is invalid */
export function createEngine(
  { docker, source }: Pick<Config, "docker" | "source">,
  { env }: { readonly env: Readonly<Record<string, string | undefined>> },
  observer: Observer,
  isQuiet: () => boolean,
): EngineParts {
  const engine = new Engine(parseEngineHost(docker.host, env), observer);
  const own = new OwnContainer(engine);
  const owner = new ContainerOwner({ own, source, project: docker.project });
  const owners: ContainerOptions["owners"] = new Map();
  const [ownDependencies, dependents] = [new OwnDependencies(engine, own), new Dependents(engine)];
  return {
    engine,
    own,
    events: new EngineEvents(engine, observer, isQuiet),
    owners,
    guard: new StopGuard({ own, owners, ownDependencies: ownDependencies, dependents }),
    owner,
    createdContainers: new CreatedContainerFinder({ engine, owner, observer }),
    pulls: new Pulls({ engine, observer }),
  };
}

/** Returns the engine's status, with each problem once. */
export function engineStatus({ engine, events }: EngineParts): EngineStatus {
  const problem = events.problem === undefined ? [] : [sentenceOf(events.problem)];
  const problems = [...new Set([...problem, ...engine.refusals.sentences])];
  return { url: engine.url, up: events.isUp, ...(problems.length > 0 && { problems }) };
}

/** Returns undefined if the engine is up, else its problem. */
export function engineProblem(parts: EngineParts): string | undefined {
  if (parts.events.isUp) return undefined;
  const [problem] = engineStatus(parts).problems ?? [];
  return problem ?? `the engine at ${parts.engine.url} does not answer`;
}
