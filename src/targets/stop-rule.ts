/** Decides whether wakeport may stop a container. Applied before each stop, kill, pause and removal. */

/** How wakeport knows a container. */
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
  /** Why wakeport itself needs the container ("runs in it"); absent if it does not. */
  readonly essential?: string | undefined;
  /** Whether the engine removes the container when it stops. */
  readonly isAutoRemoved: boolean;
  readonly dependents: readonly Dependent[];
}

/** Returns the reasons why a container must not be stopped; empty if wakeport may stop it. */
export function reasonsAgainstStop({ standing, essential, isAutoRemoved, dependents }: StopCase): readonly string[] {
  if (essential !== undefined) return [`wakeport ${essential}`];
  return [
    ...(standing === "found" ? ["another program started it, and no service names it"] : []),
    ...(isAutoRemoved ? ["a stop would remove it, because it was created with --rm"] : []),
    ...dependents.map(({ name, how }) => `container ${name} ${how}`),
  ];
}
