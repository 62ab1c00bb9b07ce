import path from "node:path";

/** Commands to try, printed below the plan of the demo. */
export const demoHint = `
Try, in another terminal:
  curl http://127.0.0.1:8080              wakes the web app: only the first answer takes about a second
  echo hello | nc -N 127.0.0.1 7000       wakes the line service; it answers each line in capitals
  curl -s http://127.0.0.1:9464/metrics | grep ^wakeport_
Both sleep again 10 s after their last connection.
`;

/** Returns a configuration with two local processes, run by the Node at `execPath`. */
export function demoConfig(execPath: string): string {
  // The programs are in the folder of this file: TypeScript in a checkout, JavaScript in a build.
  const program = (name: string): string => {
    return JSON.stringify(path.join(import.meta.dirname, name + path.extname(import.meta.filename)));
  };
  const node = JSON.stringify(execPath);
  return `
log: { format: pretty }
defaults: { idle_timeout: 10s, start_timeout: 15s }
services:
  web:
    ports: ["127.0.0.1:8080"]
    process: { command: [${node}, ${program("web")}, "18080"], listen: "127.0.0.1:18080" }
    ready: { http: / }
  lines:
    ports: ["127.0.0.1:7000"]
    process: { command: [${node}, ${program("lines")}, "17000"], listen: "127.0.0.1:17000" }
`;
}
