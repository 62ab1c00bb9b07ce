import { codeOf, DeadlineError, messageOf, TargetError } from "../errors.ts";

/** What the engine is asked to do, in the words of its API. */
export type Operation =
  | "ping"
  | "version"
  | "events"
  | "list"
  | "inspect"
  | "start"
  | "stop"
  | "pause"
  | "unpause"
  | "kill"
  | "logs";

/** The status of an answer that dockerode throws, where there was an answer. */
export function statusOf(error: unknown): number | undefined {
  const status: unknown = error instanceof Error && "statusCode" in error ? error.statusCode : undefined;
  return typeof status === "number" ? status : undefined;
}

/** For a metric's label: the HTTP status, "timeout", or "error" when there was no answer. */
export function callCode(error: unknown): string {
  if (error instanceof DeadlineError) return "timeout";
  return String(statusOf(error) ?? "error");
}

/**
 * Translates what a call to the engine threw, so that a person knows what to do.
 *
 * @param subject what was asked about: `container vsftpd`
 */
export function engineFault(error: unknown, operation: Operation, subject: string, url: string): TargetError {
  if (error instanceof TargetError) return error;
  const status = statusOf(error);
  if (status === undefined) return connectionFault(error, url);
  const said = answerOf(error);
  const options = { cause: error };
  switch (status) {
    case 403:
      return new TargetError("denied", `the socket proxy at ${url} refuses "${operation}" of ${subject}`, {
        ...options,
        remedy: proxyRemedy(operation),
      });
    case 404:
      if (/no such image/i.test(said)) {
        const remedy = "pull or build the image again, then recreate the container";
        return new TargetError("missing", `the image of ${subject} is missing: ${said}`, { ...options, remedy });
      }
      if (operation === "start" && !isAbout(said, subject)) {
        // The container whose network it uses: its own is there, or it would be the one that is named.
        const remedy = "recreate it: docker compose up -d --force-recreate SERVICE";
        return new TargetError("no_route", `${subject} depends on one that does not exist: ${said}`, {
          ...options,
          remedy,
        });
      }
      return new TargetError("missing", `${subject} does not exist`, {
        ...options,
        remedy: "create it (docker compose up --no-start), or correct its name in the configuration",
      });
    case 409:
      return new TargetError("conflict", `the engine cannot ${operation} ${subject} now: ${said}`, options);
    case 501:
      return notSupported(operation, subject, said, options);
    default:
      return new TargetError("failed", `the engine could not ${operation} ${subject}: ${said}`, options);
  }
}

/** Only logs are known to meet this: a driver that keeps nothing has nothing to read. */
function notSupported(operation: Operation, subject: string, said: string, options: { cause: unknown }): TargetError {
  if (operation !== "logs")
    return new TargetError("failed", `the engine cannot ${operation} ${subject}: ${said}`, options);
  return new TargetError("invalid", `the log of ${subject} cannot be read: ${said}`, {
    ...options,
    remedy: 'give it a logging driver that keeps its output (json-file, local), or use another kind of "ready"',
  });
}

function connectionFault(error: unknown, url: string): TargetError {
  const options = { cause: error };
  if (error instanceof DeadlineError) {
    return new TargetError("unreachable", `the engine at ${url} does not answer: ${error.message}`, options);
  }
  if (error instanceof TypeError) {
    return new TargetError("unreachable", `what answers at ${url} is not a Docker engine: ${error.message}`, {
      ...options,
      remedy: "check docker.host, or DOCKER_HOST",
    });
  }
  switch (codeOf(error)) {
    case "EACCES":
      return new TargetError("denied", `no permission to use the engine's socket at ${url}`, {
        ...options,
        remedy:
          'run wakeport with the socket\'s group: in compose, group_add: ["${DOCKER_GID}"] with the number that ' +
          "stat -c %g /var/run/docker.sock prints",
      });
    case "ENOENT":
    case "ECONNREFUSED":
      return new TargetError("unreachable", `no engine answers at ${url} (${codeOf(error)})`, {
        ...options,
        remedy: "start Docker, mount its socket, or set docker.host",
      });
    default:
      return new TargetError("unreachable", `the engine at ${url} cannot be reached: ${messageOf(error)}`, options);
  }
}

/** Whether the engine misses the very container that it was asked about. */
function isAbout(said: string, subject: string): boolean {
  const named = /no such container: (\S+)/i.exec(said)?.[1];
  return named === undefined || subject.endsWith(named);
}

/** dockerode wraps the engine's words in "(HTTP code 500) server error - … ". */
function answerOf(error: unknown): string {
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) [^-]*- /, "")
    .trim();
}

function proxyRemedy(operation: Operation): string {
  switch (operation) {
    case "start":
    case "stop":
    case "pause":
    case "unpause":
      return `allow it: for linuxserver/socket-proxy set ALLOW_${operation.toUpperCase()}=1`;
    case "kill":
      return 'few socket proxies allow it alone: use "sleep: stop", or allow all of CONTAINERS and POST';
    case "inspect":
    case "list":
      return "allow it: for most socket proxies set CONTAINERS=1";
    case "logs":
      return "allow it: for linuxserver/socket-proxy set ALLOW_LOGS=1, for others LOGS=1 or CONTAINERS=1";
    default:
      return `allow it: for most socket proxies set ${operation.toUpperCase()}=1`;
  }
}
