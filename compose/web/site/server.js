const { createServer } = require("node:http");
const { SITE = "a site", START_S = "0" } = process.env;

const server = createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(
    `<!doctype html><title>${SITE}</title><h1>This is ${SITE}</h1><p>at ${escaped(request.headers.host)}</p>\n`,
  );
});
// An open connection keeps a site awake, and browsers keep theirs.
server.keepAliveTimeout = 2_000;

function escaped(text = "") {
  return text.replace(/[^\w.:-]/g, "");
}

function print(line) {
  process.stdout.write(`${line}\n`);
}

function start(secondsLeft) {
  if (secondsLeft <= 0) return server.listen(3000, () => print(`${SITE} is ready`));
  print(`warming up: ${secondsLeft} s to go`);
  setTimeout(start, 1_000, secondsLeft - 1);
}

start(Number(START_S));
