import type { GreetingLines } from "../greeting.ts";
import { notAvailable, starting } from "../messages.ts";

/** What clients are told that wait for a service, and what they are told in vain. */
export function messagesOf(service: string): GreetingLines {
  const began = performance.now();
  const seconds = (): number => Math.round((performance.now() - began) / 1_000);
  return {
    wait: () => `220-${starting(service)}, please wait: ${seconds()} s so far\r\n`,
    end: `220 ${service}\r\n`,
    refusal: `421 ${notAvailable(service)}\r\n`,
  };
}
