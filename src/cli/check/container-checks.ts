/** Checks the containers of a configuration with the engine, for `wakeport check`. */
import { within } from "../../async/wait.ts";
import { type Config, isWoken, type TargetSpec, type WokenService } from "../../config/config.ts";
import { eachPort } from "../../config/values/ports.ts";
import { createEngine, type EngineParts } from "../../daemon/engine-parts.ts";
import { createTarget, type HostEnvironment, keyOf } from "../../daemon/target-factory.ts";
import { networkOf } from "../../daemon/target-settings.ts";
import type { ContainerFacts } from "../../docker/container-facts.ts";
import { checkAddress } from "../../docker/find-address.ts";
import { DeadlineError, messageOf, sentenceOf, TargetError } from "../../errors.ts";
import { ContainerTarget } from "../../targets/container.ts";
import { bindingWarnings, healthcheckWarning } from "../../targets/container-warnings.ts";
import { type Observer, observer } from "../../telemetry/observer.ts";
import { suggestReference } from "./missing-container.ts";

const PING_MS = 2_000;
/** Deadline for all containers together. */
const INSPECT_MS = 5_000;

const NO_PROJECT =
  "not checked: the compose project is the one of wakeport's container: run docker compose exec wakeport wakeport check";

type ContainerService = WokenService & { readonly target: Extract<TargetSpec, { kind: "container" }> };

/** Returns no lines if no service has a container. */
export async function containerChecks(config: Config, host: HostEnvironment): Promise<string[]> {
  const services = config.services.filter((service) => service.enabled && isContainerService(service));
  if (services.length === 0) return [];
  const problems: string[] = [];
  const collecting = observer({ warning: (_event, message) => problems.push(message) });
  try {
    const parts = createEngine(config, host, collecting, () => false);
    using _engine = { [Symbol.dispose]: () => parts.engine.close() };
    const { url } = parts.engine;
    await within(PING_MS, `the answer of the engine at ${url}`, parts.engine.ping());
    const signal = AbortSignal.timeout(INSPECT_MS);
    const isInside = (await parts.own.known(signal)) !== undefined;
    const { known = [], unknown = [] } = Object.groupBy(services as ContainerService[], ({ target }) =>
      isInside || hasProject(target) ? "known" : "unknown",
    );
    if (unknown.length > 0) problems.push(`${namesOf(unknown)}: ${NO_PROJECT}`);
    const sharing = [...Map.groupBy(known, keyOf).values()];
    const found = await Promise.all(sharing.map((group) => problemsOf(group, { parts, host, collecting, signal })));
    problems.push(...found.flat());
    if (problems.length === 0) return [`containers: all found at ${url}, no problems`];
    return [`containers, checked at ${url}:`, ...[...new Set(problems)].map((problem) => `  ${problem}`)];
  } catch (error) {
    if (!(error instanceof TargetError || error instanceof DeadlineError)) throw error;
    return [`containers: not checked: ${sentenceOf(error)}`];
  }
}

interface CheckContext {
  readonly parts: EngineParts;
  readonly host: HostEnvironment;
  readonly collecting: Observer;
  readonly signal: AbortSignal;
}

/** Returns why the container of these services cannot be woken, and its settings that are probably mistakes. */
async function problemsOf(
  services: readonly ContainerService[],
  { parts, host, collecting, signal }: CheckContext,
): Promise<string[]> {
  const names = namesOf(services);
  const target = createTarget(services, parts, host, collecting);
  if (!(target instanceof ContainerTarget)) return [];
  try {
    const facts = await target.facts(signal);
    const network = networkOf(services);
    if (facts.isRunning) await target.inspect(signal);
    else if (network !== undefined) await checkAddress(facts, { ...parts, network }, signal);
    return warningsOf(services, facts).map((warning) => `${names}: ${warning}`);
  } catch (error) {
    if (signal.aborted) return [`${names}: no answer within ${INSPECT_MS / 1000} s`];
    const suggestion = await suggestionFor(services, error, parts, signal);
    const problem = error instanceof Error ? sentenceOf(error) : messageOf(error);
    return [`${names}: ${suggestion === undefined ? problem : `${messageOf(error)}: ${suggestion}`}`];
  }
}

/** Returns undefined if no container is similar, or if the engine does not answer. */
async function suggestionFor(
  [service]: readonly ContainerService[],
  error: unknown,
  parts: EngineParts,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (service === undefined || !(error instanceof TargetError) || error.fault !== "missing") return undefined;
  return suggestReference(service.target.reference, parts, signal).catch(() => undefined);
}

function warningsOf(services: readonly ContainerService[], facts: ContainerFacts): string[] {
  const isHealthRequired = services.some(({ ready }) => ready.some(({ kind }) => kind === "healthy"));
  const health = isHealthRequired ? healthcheckWarning(facts) : undefined;
  const ports = services.flatMap(({ ports }) => ports.flatMap(eachPort));
  return [...(health === undefined ? [] : [health]), ...bindingWarnings(facts, ports)];
}

/** Without a project, a compose service belongs to the project of wakeport's own container. */
function hasProject({ reference }: ContainerService["target"]): boolean {
  return "name" in reference || reference.project !== undefined;
}

function namesOf(services: readonly WokenService[]): string {
  return services.map(({ name }) => name).join(", ");
}

function isContainerService(service: Config["services"][number]): service is ContainerService {
  return isWoken(service) && service.target.kind === "container";
}
