import http from "node:http";
import https from "node:https";
import { inspect } from "node:util";

/** The engine is asked for one thing at a time by each target; more at once means that it does not answer. */
const MAX_SOCKETS = 64;
/** Proxies close connections that idle for 5 s or more, and what is asked in that very moment is lost: be first. */
const IDLE_MS = 4_000;

type AddRequest = (request: http.ClientRequest, ...rest: unknown[]) => void;

export interface AgentOptions {
  readonly isSecure: boolean;
  readonly mostSockets?: number;
  /** Is given the headers of each answer, before anybody else is. */
  readonly onAnswer?: (headers: http.IncomingHttpHeaders) => void;
}

/** Keeps connections to the engine open, and keeps two habits of dockerode's HTTP layer in check. */
export function engineAgent({ isSecure, mostSockets = MAX_SOCKETS, onAnswer = () => {} }: AgentOptions): http.Agent {
  const options = { keepAlive: true, maxSockets: mostSockets, timeout: IDLE_MS };
  const agent = isSecure ? new https.Agent(options) : new http.Agent(options);
  const addRequest: AddRequest = Reflect.get(agent, "addRequest");
  const value: AddRequest = (request, ...rest) => {
    request.prependListener("response", ({ headers }) => {
      onAnswer(headers);
      // It would follow a redirect, and throw where nobody can catch when that leads nowhere. An engine has none to give.
      Reflect.deleteProperty(headers, "location");
    });
    addRequest.call(agent, request, ...rest);
  };
  Object.defineProperty(agent, "addRequest", { value });
  // It formats each request for a debug log that nobody reads, all sockets of the agent included: nine tenths of what a
  // call costs.
  Object.defineProperty(agent, inspect.custom, { value: () => "Agent" });
  return agent;
}
