import { codeOf, DeadlineError, messageOf, TargetError } from "../errors.ts";
import { isWrongState } from "./podman.ts";
import { pullFault } from "./pull-faults.ts";

/** An operation of the engine's API. */
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

/** Status codes with which socket proxies refuse a request. */
const REFUSED: ReadonlySet<number> = new Set([401, 403, 405]);
/** Docker and Podman. */
const NO_IMAGE = /no such image|image not known/i;

const NO_NETWORK = /network (\S+) not found/i;

/** Status codes of a proxy that cannot reach the engine. */
const UNREACHED: ReadonlySet<number> = new Set([502, 503, 504]);

/** Returns the HTTP status of an error of dockerode, or undefined if there was no answer. */
export function statusOf(error: unknown): number | undefined {
  const status: unknown = error instanceof Error && "statusCode" in error ? error.statusCode : undefined;
  return typeof status === "number" ? status : undefined;
}

/** Returns the label of a metric: the HTTP status, "timeout", or "error" if there was no answer. */
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

/** A request to the engine. */
export interface RequestFacts {
  readonly operation: Operation;
  /** `container vsftpd`; empty for the engine itself. */
  readonly subject: string;
  /** The container's id, if the request has it. */
  readonly id?: string;
}

/** The engine's address, for messages. */
export interface EngineAddress {
  readonly url: string;
  /** A further likely reason if no engine answers. */
  readonly hint?: string;
}

/** Whether a socket proxy or the engine refused a request. */
export function isRefusal(error: unknown): boolean {
  return REFUSED.has(statusOf(error) ?? 0);
}

/** Translates an error of a call to the engine into a message with a remedy. */
export function engineFault(error: unknown, request: RequestFacts, at: EngineAddress): TargetError {
  const { operation, subject } = request;
  if (error instanceof TargetError) return error;
  const status = statusOf(error);
  if (status === undefined) return connectionFault(error, at);
  if (operation === "pull" && isOfRegistry(error)) return pullFault(subject, answerOf(error), error);
  if (isRefusal(error)) return refusal(error, operation, subject, at);
  if (UNREACHED.has(status)) return unreached(error, status, at);
  const answer = answerOf(error);
  const options = { cause: error };
  const what = subject === "" ? operation : `${operation} ${subject}`;
  if (status === 400 && /HTTP request to an HTTPS server/i.test(answer)) {
    return new TargetError("invalid", `the engine at ${at.url} requires TLS, but wakeport connected without TLS`, {
      ...options,
      remedy: "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem",
    });
  }
  if (operation === "create" || operation === "connect") {
    const fault = creationFault(status, answer, subject, options);
    if (fault !== undefined) return fault;
  }
  if (status === 404) return notFound(answer, request, error);
  if (status === 501) return notSupported(operation, subject, answer, options);
  if (isWrongState(status, answer))
    return new TargetError("conflict", `the engine cannot ${what} now: ${answer}`, options);
  return new TargetError("failed", `the engine could not ${what}: ${answer}`, options);
}

/** Returns the error for what a request needs and the engine does not have: a network, an image or a container. */
function notFound(answer: string, request: RequestFacts, cause: unknown): TargetError {
  const { operation, subject } = request;
  const network = NO_NETWORK.exec(answer)?.[1];
  if (network !== undefined) {
    const remedy = `create it (docker network create ${network}), or correct its name in "networks"`;
    return new TargetError("no_route", `${subject} needs the network ${network}, which does not exist`, {
      cause,
      remedy,
    });
  }
  if (NO_IMAGE.test(answer)) {
    const remedy = "pull or build the image again, then recreate the container";
    return new TargetError("missing", `the image of ${subject} is missing: ${answer}`, { cause, remedy });
  }
  if (operation === "start" && !isAbout(answer, request)) {
    // The answer names another container: the one whose network this one uses.
    const remedy = "recreate it: docker compose up -d --force-recreate SERVICE";
    return new TargetError("no_route", `${subject} depends on a container that does not exist: ${answer}`, {
      cause,
      remedy,
    });
  }
  return missingFault(subject, cause);
}

/** @param subject for example `container db` */
export function missingFault(subject: string, cause?: unknown): TargetError {
  return new TargetError("missing", `${subject} does not exist`, {
    cause,
    remedy: "create it (docker compose up --no-start), or correct its name in the configuration",
  });
}

/** Whether a registry refused a pull, as opposed to a proxy in front of the engine. */
function isOfRegistry(error: unknown): boolean {
  const answer = answerOf(error);
  if (isRefusal(error)) return /unauthorized|authentication required|pull access|requested access/i.test(answer);
  return !UNREACHED.has(statusOf(error) ?? 0) && !answer.startsWith("<");
}

/** Returns undefined if the error is not special to the creation of a container. */
function creationFault(
  status: number,
  answer: string,
  subject: string,
  options: { cause: unknown },
): TargetError | undefined {
  if (status === 409 && /already in use/i.test(answer)) {
    return new TargetError(
      "conflict",
      `${subject} cannot be created: another container, not created by this wakeport, has that name`,
      {
        ...options,
        remedy: "remove or rename that container",
      },
    );
  }
  if (status !== 400) return undefined;
  return new TargetError("invalid", `the engine rejects the configuration of ${subject}: ${answer}`, options);
}

/** Only "logs" is known to be unsupported: some logging drivers do not store the output. */
function notSupported(operation: Operation, subject: string, answer: string, options: { cause: unknown }): TargetError {
  if (operation !== "logs")
    return new TargetError("failed", `the engine cannot ${operation} ${subject}: ${answer}`, options);
  return new TargetError("invalid", `the log of ${subject} cannot be read: ${answer}`, {
    ...options,
    remedy: 'give it a logging driver that stores its output (json-file, local), or use another kind of "ready"',
  });
}

/** A socket proxy answers with HTML or text, an authorization plugin of the engine with a JSON message. */
function refusal(error: unknown, operation: Operation, subject: string, { url }: EngineAddress): TargetError {
  const what = subject === "" ? `"${operation}"` : `"${operation}" of ${subject}`;
  const answer = messageIn(error);
  if (answer !== undefined) {
    const remedy = "allow it there (an authorization plugin, or a proxy)";
    return new TargetError("denied", `the engine at ${url} refuses ${what}: ${answer}`, { cause: error, remedy });
  }
  const remedy = proxyRemedy(operation);
  return new TargetError("denied", `the socket proxy at ${url} refuses ${what}`, { cause: error, remedy });
}

/** A proxy answers, but the engine behind it does not. */
function unreached(error: unknown, status: number, { url }: EngineAddress): TargetError {
  return new TargetError("unreachable", `the socket proxy at ${url} gets no answer from the engine (${status})`, {
    cause: error,
    remedy: "start Docker, or check the socket that is mounted into the proxy",
  });
}

function connectionFault(error: unknown, { url, hint }: EngineAddress): TargetError {
  const options = { cause: error };
  if (error instanceof DeadlineError) {
    return new TargetError("unreachable", `the engine at ${url} does not answer: ${error.message}`, options);
  }
  if (error instanceof TypeError) {
    return new TargetError("unreachable", `the server at ${url} is not a Docker engine: ${error.message}`, {
      ...options,
      remedy: "check docker.host, or DOCKER_HOST",
    });
  }
  const code = codeOf(error) ?? "";
  const tls = tlsRemedy(code);
  if (tls !== undefined) {
    const message = `the TLS handshake with the engine at ${url} failed: ${messageOf(error).trim()}`;
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
      return new TargetError("unreachable", `the host name in ${url} cannot be resolved (${code})`, {
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

/** Whether the answer is about the container of the request. */
function isAbout(answer: string, { subject, id }: RequestFacts): boolean {
  const named = /no such container: (\S+)/i.exec(answer)?.[1];
  return named === undefined || named === id || subject.endsWith(named);
}

/** Returns the remedy for a failed TLS handshake, or undefined for other failures. */
function tlsRemedy(code: string): string | undefined {
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG" || code === "EPROTO") {
    return "the engine does not use TLS on this port: unset DOCKER_TLS_VERIFY, or use its TLS port";
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return "the engine's certificate is for other names: use one of them in DOCKER_HOST, or issue a certificate for this name";
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return "renew the engine's certificate (or ca.pem in DOCKER_CERT_PATH), or set the clock of this machine";
  }
  if (/ALERT/.test(code)) return "the engine does not accept cert.pem in DOCKER_CERT_PATH: renew it, signed by its CA";
  if (/CERT|ISSUER|SIGNATURE/.test(code))
    return "ca.pem in DOCKER_CERT_PATH must be the CA that signed its certificate";
  return undefined;
}

/** Returns the engine's message, which dockerode wraps in "(HTTP code 500) server error - … ". */
function answerOf(error: unknown): string {
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) [^-]*- /, "")
    .trim();
}

/** Returns the engine's JSON message, or undefined for HTML and plain text. */
function messageIn(error: unknown): string | undefined {
  const body: unknown = error instanceof Error && "json" in error ? error.json : undefined;
  if (typeof body !== "object" || body === null || !("message" in body)) return undefined;
  return typeof body.message === "string" ? body.message : undefined;
}

/** Returns which setting of common socket proxies allows an operation. */
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
