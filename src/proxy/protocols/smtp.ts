/**
 * SMTP (RFC 5321). Clients get the first lines of a greeting after a second: by 4.5.3.2.1 they wait five minutes, but
 * many wait less. Bytes that a client sends before the greeting stay unread, as with servers that check for early
 * talkers.
 */
import type { HoldSpec } from "../../config/config.ts";
import { GreetingFilter, type GreetingIntervals, type GreetingText, holdWithGreeting } from "./greeting.ts";
import { notAvailable, starting } from "./messages.ts";
import type { Protocol } from "./protocol.ts";

/** Far below the time that clients wait for a line. Few lines, because some clients have little room for a reply. */
const INTERVALS: GreetingIntervals = { firstMs: 1_000, everyMs: 10_000 };

export function smtp({ kind }: HoldSpec, intervals: GreetingIntervals = INTERVALS): Protocol {
  return {
    hold({ socket, progress }) {
      const text = greetingText(progress.service);
      return holdWithGreeting(socket, {
        text,
        intervals,
        isSilent: kind === "silent",
        relay: (options, isStarted) =>
          options.relayer.relay(isStarted ? { ...options, filters: { out: new GreetingFilter(text) } } : options),
      });
    },
  };
}

/** The first word of a greeting is the server's name (RFC 5321 4.2). 4.3.2: not accepting messages (RFC 3463 3.4). */
export function greetingText(service: string): GreetingText {
  return {
    waiting: () => `220-${starting(service)}, please wait\r\n`,
    end: `220 ${service}\r\n`,
    rejection: `421 4.3.2 ${notAvailable(service)}\r\n`,
  };
}
