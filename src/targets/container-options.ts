import type { ContainerReference } from "../config/config.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import type { Engine } from "../docker/engine.ts";
import type { EngineEvents } from "../docker/events.ts";
import type { OwnContainer } from "../docker/own-container.ts";
import type { StopGuard } from "./stop-guard.ts";

/** A container that wakeport created for a service. */
export interface CreatedReference {
  readonly createdFor: string;
  /** Returns undefined if the container does not exist, else its id. @throws TargetError */
  readonly find: (signal: AbortSignal) => Promise<string | undefined>;
}

/** Settings that a reload can change. */
export interface ContainerSettings {
  /** Whether a service names the container. If not, dependents need it. */
  readonly isNamed: boolean;
  /** Label that the container must have with the value "true"; undefined: no label is required. */
  readonly requiredLabel: string | undefined;
  /** A network's name, or "auto"; undefined if wakeport never connects to the container. */
  readonly network: string | undefined;
  /** From the stop signal to SIGKILL, in milliseconds; undefined: the container's own grace. */
  readonly graceMs: number | undefined;
}

export interface ContainerOptions extends ContainerSettings {
  readonly name: string;
  readonly reference: ContainerReference | CreatedReference;
  /** Called before each attempt to start the container; creates it if necessary. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
  readonly engine: Engine;
  readonly events: EngineEvents;
  readonly own: OwnContainer;
  /** The target of each container, by the container's id. Shared by all targets of an engine. */
  readonly owners: Map<string, ContainerOwner>;
  readonly guard: StopGuard;
  /** Reports a fact that the operator should know. */
  readonly onWarning: (event: string, message: string) => void;
}

/** A target in the map of owners. */
export interface ContainerOwner {
  readonly name: string;
  /** The container as last found. */
  readonly seen: ContainerFacts | undefined;
}
