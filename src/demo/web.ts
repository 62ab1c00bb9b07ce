/** A web app that takes about 1 s to start. Its argument is the port. */
import http from "node:http";
import { argv, pid } from "node:process";

const STARTUP_MS = 800;

const began = new Date().toISOString();
const server = http.createServer((_request, response) => {
  response.setHeader("content-type", "text/plain");
  response.end(`Hello from process ${pid}, awake since ${began}\n`);
});
setTimeout(() => server.listen(Number(argv[2]), "127.0.0.1"), STARTUP_MS);
