import { createServer } from "node:http";
import pg from "pg";

/** PGHOST and similar variables give the address of the database. */
const pool = new pg.Pool();
// The database may end an idle connection; the next query opens another.
pool.on("error", report);

const server = createServer(async (request, response) => {
  const isKnown = request.method === "GET" && request.url === "/products";
  const [status, body] = isKnown ? await products() : [404, { error: "not found" }];
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
});

async function products() {
  try {
    const { rows } = await pool.query("SELECT id, name FROM products ORDER BY id");
    return [200, rows];
  } catch (error) {
    report(error);
    return [503, { error: "the database does not answer" }];
  }
}

function report(error) {
  process.stderr.write(`${error.message}\n`);
}

server.listen(3000);
