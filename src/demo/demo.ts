import path from "node:path";

/** What to try, printed below the plan of the demo. */
export const demoHint = `
Try, in another terminal:
  curl http://127.0.0.1:8080              wakes the web app: the first answer takes about a second, the next none
  echo hello | nc -N 127.0.0.1 7000       wakes the line service; it answers each line in capitals
  curl -s http://127.0.0.1:9464/metrics | grep ^wakeport_
Ten seconds after the last connection they go to sleep again.
`;

/** A configuration of two local processes that come with wakeport. `execPath` is the Node to run them with. */
export function demoConfig(execPath: string): string {
  // In a checkout the programs are TypeScript beside this file, in a build JavaScript.
  const program = (name: string): string => {
    const { dirname, filename } = import.meta;
    return JSON.stringify(path.join(dirname, name + path.extname(filename)));
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
