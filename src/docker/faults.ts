import { codeOf, DeadlineError, messageOf, TargetError } from "../errors.ts";
import { isWrongState } from "./podman.ts";
import { pullFault } from "./pull-faults.ts";

/** What the engine is asked to do, in the words of its API. */
export type Operation =
  | "ping"
  | "version"
  | "events"
  | "list"
  | "inspect"
  | "stats"
  | "start"
  | "stop"
  | "pause"
  | "unpause"
  | "kill"
  | "create"
  | "connect"
  | "remove"
  | "pull"
  | "logs";

/** How socket proxies say no; 405 where they know methods and paths apart. */
const REFUSED: ReadonlySet<number> = new Set([401, 403, 405]);
/** Docker and Podman. */
const NO_IMAGE = /no such image|image not known/i;

const NO_NETWORK = /network (\S+) not found/i;

/** How proxies say that they got nowhere themselves. */
const UNREACHED: ReadonlySet<number> = new Set([502, 503, 504]);

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

/** Whether the engine answered that it does not have an image. */
export function isImageMissing(error: unknown): boolean {
  return statusOf(error) === 404 && NO_IMAGE.test(answerOf(error));
}

/** Whether a start failed because a network of the container was removed, even if a new one has the same name. */
export function isNetworkMissing(error: unknown): boolean {
  const cause = error instanceof TargetError ? error.cause : undefined;
  return statusOf(cause) === 404 && NO_NETWORK.test(answerOf(cause));
}

/** What the engine was asked to do. */
export interface Asked {
  readonly operation: Operation;
  /** Asked about what: `container vsftpd`; empty for the engine as a whole. */
  readonly subject: string;
  /** The container's id, where it was asked for by that. */
  readonly id?: string;
}

/** How the engine is reached, as far as people want to be told. */
export interface EngineAddress {
  readonly url: string;
  /** What else may be wrong where no engine answers at that address. */
  readonly hint?: string;
}

/** Whether something between us and the engine answered that it does not let this through. */
export function isRefusal(error: unknown): boolean {
  return REFUSED.has(statusOf(error) ?? 0);
}

/**
 * Translates what a call to the engine threw, so that a person knows what to do.
 *
 * @param asked what was asked of it
 */
export function engineFault(error: unknown, asked: Asked, at: EngineAddress): TargetError {
  const { operation, subject } = asked;
  if (error instanceof TargetError) return error;
  const status = statusOf(error);
  if (status === undefined) return connectionFault(error, at);
  if (operation === "pull" && isOfRegistry(error)) return pullFault(subject, answerOf(error), error);
  if (isRefusal(error)) return refusal(error, operation, subject, at);
  if (UNREACHED.has(status)) return unreached(error, status, at);
  const said = answerOf(error);
  const options = { cause: error };
  const what = subject === "" ? operation : `${operation} ${subject}`;
  if (status === 400 && /HTTP request to an HTTPS server/i.test(said)) {
    return new TargetError("invalid", `the engine at ${at.url} speaks TLS, and was asked without`, {
      ...options,
      remedy: "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem",
    });
  }
  if (operation === "create" || operation === "connect") {
    const fault = creationFault(status, said, subject, options);
    if (fault !== undefined) return fault;
  }
  const network = status === 404 ? NO_NETWORK.exec(said)?.[1] : undefined;
  if (network !== undefined) {
    const remedy = `create it (docker network create ${network}), or correct its name in "networks"`;
    return new TargetError("no_route", `${subject} is to be in the network ${network}, which does not exist`, {
      ...options,
      remedy,
    });
  }
  if (status === 404 && NO_IMAGE.test(said)) {
    const remedy = "pull or build the image again, then recreate the container";
    return new TargetError("missing", `the image of ${subject} is missing: ${said}`, { ...options, remedy });
  }
  if (status === 404 && operation === "start" && !isAbout(said, asked)) {
    // The container whose network it uses: its own is there, or it would be the one that is named.
    const remedy = "recreate it: docker compose up -d --force-recreate SERVICE";
    return new TargetError("no_route", `${subject} depends on one that does not exist: ${said}`, {
      ...options,
      remedy,
    });
  }
  if (status === 404) return missingFault(subject, error);
  if (status === 501) return notSupported(operation, subject, said, options);
  if (isWrongState(status, said)) return new TargetError("conflict", `the engine cannot ${what} now: ${said}`, options);
  return new TargetError("failed", `the engine could not ${what}: ${said}`, options);
}

/** @param subject `container db` */
export function missingFault(subject: string, cause?: unknown): TargetError {
  return new TargetError("missing", `${subject} does not exist`, {
    cause,
    remedy: "create it (docker compose up --no-start), or correct its name in the configuration",
  });
}

/** Whether it is a registry that said no to a pull, rather than something between us and the engine. */
function isOfRegistry(error: unknown): boolean {
  const said = answerOf(error);
  if (isRefusal(error)) return /unauthorized|authentication required|pull access|requested access/i.test(said);
  return !UNREACHED.has(statusOf(error) ?? 0) && !said.startsWith("<");
}

/** What is special about making a container; undefined where nothing is. */
function creationFault(
  status: number,
  said: string,
  subject: string,
  options: { cause: unknown },
): TargetError | undefined {
  if (status === 409 && /already in use/i.test(said)) {
    return new TargetError(
      "conflict",
      `${subject} cannot be created: another one has that name, not made by this wakeport`,
      {
        ...options,
        remedy: "remove or rename that one",
      },
    );
  }
  if (status !== 400) return undefined;
  return new TargetError("invalid", `the engine does not take ${subject} as it is configured: ${said}`, options);
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

/** A socket proxy answers with a page; the engine itself, by an authorization plugin, with a message. */
function refusal(error: unknown, operation: Operation, subject: string, { url }: EngineAddress): TargetError {
  const what = subject === "" ? `"${operation}"` : `"${operation}" of ${subject}`;
  const said = messageIn(error);
  if (said !== undefined) {
    const remedy = "allow it there (an authorization plugin, or a proxy)";
    return new TargetError("denied", `the engine at ${url} refuses ${what}: ${said}`, { cause: error, remedy });
  }
  const remedy = proxyRemedy(operation);
  return new TargetError("denied", `the socket proxy at ${url} refuses ${what}`, { cause: error, remedy });
}

/** A proxy answers, and the engine behind it does not. */
function unreached(error: unknown, status: number, { url }: EngineAddress): TargetError {
  return new TargetError("unreachable", `the socket proxy at ${url} gets no answer from the engine (${status})`, {
    cause: error,
    remedy: "start Docker, or check the socket that the proxy was given",
  });
}

function connectionFault(error: unknown, { url, hint }: EngineAddress): TargetError {
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
  const code = codeOf(error) ?? "";
  const tls = tlsRemedy(code);
  if (tls !== undefined) {
    const message = `no trust between wakeport and the engine at ${url}: ${messageOf(error).trim()}`;
    return new TargetError("unreachable", message, { ...options, remedy: tls });
  }
  switch (code) {
    case "EACCES":
      return new TargetError("denied", `no permission to use the engine's socket at ${url}`, {
        ...options,
        remedy:
          "run wakeport with the socket's group, whose number stat -c %g /var/run/docker.sock prints: in compose, " +
          'user: "65532:NUMBER"; with systemd, SupplementaryGroups=docker',
      });
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new TargetError("unreachable", `the host name in ${url} is not known (${code})`, {
        ...options,
        remedy: "check docker.host, or DOCKER_HOST; in compose, wakeport and a socket proxy must share a network",
      });
    case "ENOENT":
    case "ECONNREFUSED":
      return new TargetError("unreachable", `no engine answers at ${url} (${code})`, {
        ...options,
        remedy: ["start Docker, mount its socket, or set docker.host", hint].filter(Boolean).join("; "),
      });
    default:
      return new TargetError("unreachable", `the engine at ${url} cannot be reached: ${messageOf(error)}`, options);
  }
}

/** Whether the engine misses the very container that it was asked about. */
function isAbout(said: string, { subject, id }: Asked): boolean {
  const named = /no such container: (\S+)/i.exec(said)?.[1];
  return named === undefined || named === id || subject.endsWith(named);
}

/** What to do about a TLS handshake that failed; undefined for codes of other failures. */
function tlsRemedy(code: string): string | undefined {
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG" || code === "EPROTO") {
    return "it does not speak TLS there: unset DOCKER_TLS_VERIFY, or use its TLS port";
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return "its certificate is for other names: use one of them in DOCKER_HOST, or make a certificate for this one";
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return "renew the engine's certificate (or ca.pem in DOCKER_CERT_PATH), or set the clock of this machine";
  }
  if (/ALERT/.test(code)) return "the engine does not accept cert.pem in DOCKER_CERT_PATH: renew it, signed by its CA";
  if (/CERT|ISSUER|SIGNATURE/.test(code))
    return "ca.pem in DOCKER_CERT_PATH must be the CA that signed its certificate";
  return undefined;
}

/** dockerode wraps the engine's words in "(HTTP code 500) server error - … ". */
function answerOf(error: unknown): string {
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) [^-]*- /, "")
    .trim();
}

/** What the engine says in its own form, a JSON object with a message; undefined for a page or plain words. */
function messageIn(error: unknown): string | undefined {
  const body: unknown = error instanceof Error && "json" in error ? error.json : undefined;
  if (typeof body !== "object" || body === null || !("message" in body)) return undefined;
  return typeof body.message === "string" ? body.message : undefined;
}

/** Which switch of the usual socket proxies to set. */
function proxyRemedy(operation: Operation): string {
  switch (operation) {
    case "start":
    case "stop":
    case "pause":
    case "unpause":
      return `allow it: for linuxserver/socket-proxy set ALLOW_${operation.toUpperCase()}=1`;
    case "kill":
      return 'few socket proxies allow it alone: use "sleep: stop", or allow all of CONTAINERS and POST';
    case "logs":
      return (
        '"ready: { log: … }" and the last lines of targets that fail need it: for linuxserver/socket-proxy set ' +
        "ALLOW_LOGS=1, for most others LOGS=1 or CONTAINERS=1"
      );
    case "create":
    case "remove":
      return "containers that are created on demand need it: for most socket proxies set CONTAINERS=1 and POST=1";
    case "connect":
      return "containers that are created in several networks need it: for most socket proxies set NETWORKS=1 and POST=1";
    case "pull":
      return "allow it (for most socket proxies set IMAGES=1 and POST=1), or pull it by hand";
    case "inspect":
    case "stats":
    case "list":
      return "allow it: for most socket proxies set CONTAINERS=1";
    default:
      return `allow it: for most socket proxies set ${operation.toUpperCase()}=1`;
  }
}
