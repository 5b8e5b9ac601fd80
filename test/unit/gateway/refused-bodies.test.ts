import { beforeAll, expect, test } from "vitest";
import { TestGateway } from "./harness";

/** What the answer to a body that is not taken says, for somebody who has only curl. */
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await TestGateway.start({ LIMIT_BODY_BYTES: "2000" });
});

const JSON_TYPE = { "content-type": "application/json" };
/** Routes that need a body. */
const ROUTES = [
  ["POST", "/v1/sandboxes"],
  ["POST", "/v1/volumes"],
  ["POST", "/v1/snapshots"],
  ["POST", "/v1/volumes/default/files/mkdir"],
] as const;

async function refused(
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: string | Buffer,
) {
  const given = { authorization: "Bearer x", ...headers };
  const answer = await fetch(`${gateway.url}${path}`, { method, headers: given, body });
  const { error } = (await answer.json()) as { error: { code: string; message: string } };
  return { status: answer.status, ...error };
}

test.each(ROUTES)("%s %s without a body says what is expected, and with which header", async (...route) => {
  const expected = /^the body is empty: expected a JSON object.*"content-type: application\/json"$/;
  for (const [headers, body] of [
    [{}, undefined],
    [JSON_TYPE, ""],
    [JSON_TYPE, "null"],
  ] as const)
    expect(await refused(...route, headers, body)).toEqual({
      ...{ status: 400, code: "invalid_request" },
      message: expect.stringMatching(expected),
    });
});

test.each(ROUTES)("%s %s with another type of body says which header is expected", async (...route) => {
  const form = "application/x-www-form-urlencoded";
  const long = `text/${"x".repeat(5_000)}`;
  for (const [headers, received] of [
    [{ "content-type": form }, `"${form}"`],
    // fetch adds a content-type to text, and none to bytes.
    [{}, "no content-type"],
    [{ "content-type": long }, '"text/xxx'],
  ] as const) {
    const { message, ...answer } = await refused(...route, headers, Buffer.from("{}"));
    expect(answer).toEqual({ status: 415, code: "invalid_request" });
    expect(message).toContain('"content-type: application/json"');
    expect(message).toContain(received);
    expect(message.length).toBeLessThan(300);
  }
});

test("a body that is too large says how large one may be", async () => {
  expect(await refused("POST", "/v1/sandboxes", JSON_TYPE, `"${"a".repeat(2_000)}"`)).toEqual({
    ...{ status: 413, code: "invalid_request" },
    message: "the body is too large; 2000 bytes are the most",
  });
});

test("a field or a header that is missing is called missing", async () => {
  expect((await refused("POST", "/v1/volumes", JSON_TYPE, "{}")).message).toMatch(
    /\bname: missing; expected string/,
  );
  expect((await refused("GET", "/v1/volumes/default/files", {})).message).toMatch(
    /x-msb-file-path.*: missing; expected string$/,
  );
});
