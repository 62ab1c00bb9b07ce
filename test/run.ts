/**
 * Runs the tests: everything that this machine can. Tests of a real engine are skipped, loudly, where there is none;
 * with WAKEPORT_TEST_ENGINE=required a missing engine is a failure. Arguments name files, default: all.
 */
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import process from "node:process";
import { engineVersion } from "./support/engine/engine.ts";
import { cannotHavePodman } from "./support/engine/podman-engine.ts";

const engine = await engineVersion();
const isRequired = process.env["WAKEPORT_TEST_ENGINE"] === "required";
if (engine === undefined && isRequired) {
  console.error("No Docker engine answers, and WAKEPORT_TEST_ENGINE=required: see test/engine/README.md");
  process.exit(1);
}
const noPodman = await cannotHavePodman();
const isLess = engine === undefined || noPodman !== false;
const notice =
  engine === undefined
    ? "NO DOCKER ENGINE: the tests that need one are SKIPPED. As root on Debian, test/engine/up brings one."
    : `Docker engine ${engine}: ${noPodman === false ? "all tests run." : `all tests run but these. ${noPodman}`}`;

console.log(notice);
const named = process.argv.slice(2);
const files = named.length > 0 ? named : globSync("test/**/*.test.ts").sort();
const reporter = `--test-reporter=${new URL(`support/reporter.ts?files=${files.length}`, import.meta.url)}`;
const options = ["--test", "--test-timeout=300000", reporter, "--test-reporter-destination=stdout"];
const { status } = spawnSync(process.execPath, [...options, ...files], { stdio: "inherit" });
if (isLess) console.log(notice);
process.exit(status ?? 1);
