/** Connections that the kernel began to forward since the last report. */
export interface ForwardedReport {
  readonly service: string;
  readonly connections: number;
}

export interface RouteObserver {
  forwarded(report: ForwardedReport): void;
  /** A fact that the operator should know. */
  warning(event: string, message: string): void;
}
