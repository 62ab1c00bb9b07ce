/** Messages for clients of all protocols. They contain the service's name and no reason: the log has the reason. */

export function starting(service: string): string {
  return `${service} is starting`;
}

export function notAvailable(service: string): string {
  return `${service} is not available, try again later`;
}
