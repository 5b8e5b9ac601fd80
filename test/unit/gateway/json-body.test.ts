import { describe, expect, test } from "vitest";
import { whyRefused } from "../../../docker/gateway/src/http/json-body";
import { newBody, TestGateway } from "./harness";

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe("JSON bodies", () => {
  test.each([
    ['"\\ud800"', "half a pair"],
    ['"\\udc00"', "the other half"],
    ['"\\uDBFFx\\uDFFF"', "two halves apart"],
    ['"\\ud83d\\\\\\ude00"', "two halves with a backslash between them"],
    [nested(65), "nesting"],
    ['{"a":'.repeat(100_000), "much nesting"],
  ])("%s is refused: %s", (text) => expect(whyRefused(text)).toBeDefined());

  test.each([
    ['"\\ud83d\\ude00"', "a pair"],
    ['"\\\\ud800"', "a backslash and letters"],
    ['"\\u00e9"', "another escape"],
    [`"${"[".repeat(100)}"`, "brackets in a string"],
    [`"\\"${"[".repeat(100)}"`, "brackets after an escaped quote"],
    [`[${"[],".repeat(100)}[]]`, "many lists side by side"],
    [nested(64), "nesting up to the limit"],
  ])("%s is taken: %s", (text) => expect(whyRefused(text)).toBeUndefined());

  test("a refused body is a 400 of the contract, and nothing is made", async () => {
    const gateway = await TestGateway.start();
    const text = JSON.stringify(newBody("deep")).replace('"labels":', `"more":${nested(20_000)},"labels":`);
    const answer = await fetch(`${gateway.url}/v1/sandboxes`, {
      method: "POST",
      headers: { authorization: "Bearer x", "content-type": "application/json" },
      body: text,
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { code: "invalid_request" } });
    expect((await gateway.get("/v1/sandboxes/by-name/deep")).status).toBe(404);
  });
});
