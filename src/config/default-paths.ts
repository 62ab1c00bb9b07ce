/** Paths of the configuration, in order of search, if none is given. */
export const defaultPaths: readonly string[] = ["./wakeport.yaml", "/etc/wakeport/wakeport.yaml"];

/** No default path has a configuration. */
export class NoConfigError extends Error {
  override readonly name = "NoConfigError";
}
