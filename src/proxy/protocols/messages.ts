/** What clients are told, whatever they speak: short, always the same, and never why. That is in the log. */

export function starting(service: string): string {
  return `${service} is starting`;
}

export function notAvailable(service: string): string {
  return `${service} is not available, try again later`;
}
