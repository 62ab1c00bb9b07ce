import { createServer } from "node:http";
import pg from "pg";

/** Where the database is, PGHOST and its like say. */
const pool = new pg.Pool();
// The database may end a connection that nobody uses; the next query opens another.
pool.on("error", tell);

const server = createServer(async (request, response) => {
  const isKnown = request.method === "GET" && request.url === "/products";
  const [status, body] = isKnown ? await products() : [404, { error: "there is nothing here" }];
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
});

async function products() {
  try {
    const { rows } = await pool.query("SELECT id, name FROM products ORDER BY id");
    return [200, rows];
  } catch (error) {
    tell(error);
    return [503, { error: "the database does not answer" }];
  }
}

function tell(error) {
  process.stderr.write(`${error.message}\n`);
}

server.listen(3000);
