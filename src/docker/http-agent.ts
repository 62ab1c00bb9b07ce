import http from "node:http";
import https from "node:https";
import { inspect } from "node:util";

/** Each target sends one request at a time. More open connections mean that the engine does not answer. */
const MAX_SOCKETS = 64;
/** Proxies close connections after 5 s or more without traffic. A request at that moment is lost, so close earlier. */
const IDLE_MS = 4_000;

type AddRequest = (request: http.ClientRequest, ...rest: unknown[]) => void;

export interface AgentOptions {
  readonly isSecure: boolean;
  readonly maxSockets?: number;
  /** Called with the headers of each answer, before dockerode reads them. */
  readonly onAnswer?: (headers: http.IncomingHttpHeaders) => void;
}

/** Keeps connections to the engine open. Disables redirects and debug output of dockerode's HTTP layer. */
export function engineAgent({ isSecure, maxSockets = MAX_SOCKETS, onAnswer = () => {} }: AgentOptions): http.Agent {
  const options = { keepAlive: true, maxSockets, timeout: IDLE_MS };
  const agent = isSecure ? new https.Agent(options) : new http.Agent(options);
  const addRequest: AddRequest = Reflect.get(agent, "addRequest");
  const value: AddRequest = (request, ...rest) => {
    request.prependListener("response", ({ headers }) => {
      onAnswer(headers);
      // dockerode follows redirects, and throws an uncaught error if one fails. The engine sends none.
      Reflect.deleteProperty(headers, "location");
    });
    addRequest.call(agent, request, ...rest);
  };
  Object.defineProperty(agent, "addRequest", { value });
  // dockerode formats each request with all sockets of its agent for an unused debug log: 90 % of the time of a call.
  Object.defineProperty(agent, inspect.custom, { value: () => "Agent" });
  return agent;
}
