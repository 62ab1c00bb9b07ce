/**
 * SMTP (RFC 5321). Clients wait five minutes for a greeting by 4.5.3.2.1, but many less: after a second they get its first
 * lines, as from servers that want to know who talks before it is over. What a client says before that stays unread.
 */
import type { HoldSpec } from "../../config/config.ts";
import { relay } from "../../net/relay.ts";
import { Greeting, type GreetingLines, type GreetingPace } from "./greeting.ts";
import { notAvailable, starting } from "./messages.ts";
import type { Protocol } from "./protocol.ts";

export function smtp({ kind }: HoldSpec, pace?: GreetingPace): Protocol {
  return {
    hold({ socket, progress }) {
      const greeting = new Greeting(socket, messagesOf(progress.service), pace);
      if (kind === "silent") greeting[Symbol.dispose]();
      return {
        ready: () => {
          greeting[Symbol.dispose]();
          return Promise.resolve(undefined);
        },
        relay: (options) => {
          const { splice } = greeting;
          return relay(splice === undefined ? options : { ...options, filters: { out: splice } });
        },
        refuse: () => Promise.resolve(greeting.rejectionReply),
        [Symbol.dispose]: () => greeting[Symbol.dispose](),
      };
    },
  };
}

/** The first word of a greeting says whose it is (RFC 5321 4.2). 4.3.2: not accepting messages now (RFC 3463 3.4). */
export function messagesOf(service: string): GreetingLines {
  return {
    wait: () => `220-${starting(service)}, please wait\r\n`,
    end: `220 ${service}\r\n`,
    refusal: `421 4.3.2 ${notAvailable(service)}\r\n`,
  };
}
