import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { suggest } from "../../../src/config/yaml/suggest.ts";

suite("suggest()", () => {
  test("returns the candidate that differs in two letters at most", () => {
    assert.equal(suggest("idle_timout", ["idle_timeout", "start_timeout"]), "idle_timeout");
    assert.equal(suggest("Ports", ["port", "ports"]), "ports");
    assert.equal(suggest("elephant", ["ports"]), undefined);
    assert.equal(suggest("x", ["y"]), undefined);
    assert.equal(suggest("smtpp", ["ftp", "smtp"]), "smtp");
    assert.equal(suggest("imap", ["ftp", "smtp"]), undefined, "a short word differs in one letter only");
    assert.equal(suggest("v3", ["v1", "v2"]), undefined, "both are equally near");
  });
});
