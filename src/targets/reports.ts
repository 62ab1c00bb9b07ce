/** Receives the reports about targets, once for each event. */
export interface TargetObserver {
  /** A container that wakeport created is removed, because no service uses it any more. */
  orphanRemoved(container: string, service: string): void;
  /** One line of a process target's output. */
  output(target: string, line: string): void;
  /** A fact that the operator should know. */
  warning(event: string, message: string): void;
}
