/** Decides whether wakeport may stop a container: the one rule, applied before each stop, kill, pause and removal. */

/** Why wakeport may act on a container at all. */
export type Standing =
  /** The configuration, or a label of the container, names it. */
  | "named"
  /** wakeport created it. */
  | "created"
  /** wakeport started it for a dependent; no service names it. */
  | "started"
  /** It was running before a dependent needed it; no service names it. */
  | "found";

/** A running container that needs another one. */
export interface Dependent {
  readonly name: string;
  /** `depends on it`, `uses its network`. */
  readonly how: string;
}

export interface StopCase {
  readonly standing: Standing;
  /** What wakeport itself needs the container for ("runs in it"); absent when it does not. */
  readonly essential?: string | undefined;
  /** Whether the engine removes the container when it stops. */
  readonly isAutoRemoved: boolean;
  readonly dependents: readonly Dependent[];
}

/** Returns the reasons why a container must not be stopped; empty when wakeport may stop it. */
export function reasonsAgainstStop({ standing, essential, isAutoRemoved, dependents }: StopCase): readonly string[] {
  if (essential !== undefined) return [`wakeport ${essential}`];
  return [
    ...(standing === "found" ? ["it was started by others, and no service names it"] : []),
    ...(isAutoRemoved ? ["a stop would remove it, because it was created with --rm"] : []),
    ...dependents.map(({ name, how }) => `container ${name} ${how}`),
  ];
}
