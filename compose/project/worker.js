// Queries the database for work ten times a second, through a connection pool.
import pg from "pg";

const pool = new pg.Pool({ max: 2 });
pool.on("error", report);

let known;

async function work() {
  try {
    const { rows } = await pool.query("SELECT count(*) AS products FROM products");
    if (rows[0].products !== known) process.stdout.write(`found ${rows[0].products} products\n`);
    known = rows[0].products;
  } catch (error) {
    report(error);
  }
  setTimeout(work, 100);
}

function report(error) {
  process.stderr.write(`${error.message}\n`);
}

await work();
