import { appendFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { decodeCursor, encodeCursor } from "../../../docker/gateway/src/sandboxes/log-cursor";
import { handleOf, TestGateway } from "./harness";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await TestGateway.start();
});

type Event = { event?: string; id?: string; data?: { source: string; text: string; ts: string } };

/** Reads events until one satisfies the condition, then hangs up. */
async function read(
  id: string,
  enough: (events: Event[]) => boolean,
  query = "",
  headers = {},
): Promise<Event[]> {
  const answer = await fetch(`${gateway.url}/v1/sandboxes/${id}/logs${query}`, {
    headers: { authorization: "Bearer x", accept: "text/event-stream", ...headers },
    signal: AbortSignal.timeout(8000),
  });
  expect(answer.headers.get("content-type")).toContain("text/event-stream");
  const events: Event[] = [];
  let rest = "";
  for await (const chunk of answer.body ?? []) {
    rest += Buffer.from(chunk).toString("utf8");
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) if (!block.startsWith(":")) events.push(parse(block));
    if (enough(events)) break;
  }
  return events;
}

function parse(block: string): Event {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
  return { ...fields, data: JSON.parse(fields.data) };
}

const file = (name: string) =>
  join(gateway.home, "sandboxes", handleOf(gateway.home, name), "logs", "exec.log");
const say = (name: string, s: string, d: string, more = {}) =>
  appendFileSync(file(name), `${JSON.stringify({ t: new Date().toISOString(), s, d, id: 1, ...more })}\n`);
const texts = (events: Event[]) =>
  events.filter(({ event }) => event === "log").map(({ data }) => data?.text);

describe("log stream", () => {
  test("gives what is there, follows, and ends when the sandbox stops", async () => {
    const { body } = await gateway.create("follow");
    say("follow", "stdout", "one\n");
    let told = false;
    const events = await read(body.id, (seen) => {
      if (!told && texts(seen).includes("one\n")) {
        told = true;
        say("follow", "stderr", "two ä\n");
        say("follow", "output", "dGhyZWU=", { e: "b64" });
        gateway.post(`/v1/sandboxes/${body.id}/stop`);
      }
      return seen.at(-1)?.event === "end";
    });
    expect(texts(events)).toEqual(["one\n", "two ä\n", "three"]);
    expect(events.at(-1)?.event).toBe("end");
  });

  test("chooses by source", async () => {
    const { body } = await gateway.create("sources");
    say("sources", "stdout", "out");
    say("sources", "stderr", "err");
    const events = await read(body.id, (seen) => seen.length === 2, "?sources=stderr,system");
    expect(texts(events)).toEqual(["--- sandbox started ---\n", "err"]);
  });

  test("goes on after the last id, over a rotation", async () => {
    const { body } = await gateway.create("resume");
    for (const text of ["1", "2", "3"]) say("resume", "stdout", text);
    const first = await read(body.id, (seen) => seen.length >= 2);
    const id = first[1]?.id ?? "";
    renameSync(file("resume"), `${file("resume")}.1`);
    say("resume", "stdout", "4");
    const second = await read(body.id, (seen) => seen.length === 2, "", { "last-event-id": id });
    expect(texts(second)).toEqual(["3", "4"]);
  });

  test("a line that is half written is given once it is whole", async () => {
    const { body } = await gateway.create("half");
    const line = `${JSON.stringify({ t: new Date().toISOString(), s: "stdout", d: "whole" })}\n`;
    appendFileSync(file("half"), line.slice(0, 20));
    setTimeout(() => appendFileSync(file("half"), line.slice(20)), 100);
    expect(texts(await read(body.id, (seen) => seen.length === 1))).toEqual(["whole"]);
  });

  test.each(["!", "AAA", encodeCursor({ generation: 1n, offset: 1n }).slice(4)])(
    "refuses the id %j",
    async (id) => {
      const { body } = await gateway.get("/v1/sandboxes/by-name/half");
      const refused = await gateway.get(`/v1/sandboxes/${body.id}/logs`, { "last-event-id": id });
      expect([refused.status, refused.body.error.code]).toEqual([400, "invalid_request"]);
    },
  );

  test("refuses an unknown source and an unknown sandbox", async () => {
    const { body } = await gateway.get("/v1/sandboxes/by-name/half");
    expect((await gateway.get(`/v1/sandboxes/${body.id}/logs?sources=x`)).status).toBe(400);
    expect((await gateway.get("/v1/sandboxes/nope/logs")).status).toBe(404);
  });
});

test("a cursor survives the way there and back", () => {
  const position = { generation: 2n ** 63n + 5n, offset: 123n };
  expect(decodeCursor(encodeCursor(position))).toEqual(position);
  expect(decodeCursor("AA==")).toBeUndefined();
});
