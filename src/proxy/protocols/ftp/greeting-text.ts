import type { GreetingText } from "../greeting.ts";
import { notAvailable, starting } from "../messages.ts";

/** Returns the lines for a client that waits for `service`, and for a rejected client. */
export function greetingText(service: string): GreetingText {
  const startedAt = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedAt) / 1_000);
  return {
    waiting: () => `220-${starting(service)}, please wait: ${seconds()} s so far\r\n`,
    end: `220 ${service}\r\n`,
    rejection: `421 ${notAvailable(service)}\r\n`,
  };
}
