import { connect, type Socket } from "node:net";
import { expect, test } from "vitest";
import { atFileEnd } from "../../harness/file-end";
import { type TestGateway, until } from "./harness";
import { fakeHeap } from "./heap-figures";
import { bearer, withKeys } from "./with-keys";

/** Bytes of all answers in these tests: a page of a MB for each of two keys. */
const TOTAL = 3 * 1024 * 1024;

const KEYS = ["ann", "bob"].map((id) => ({ id, key: id }));

/** Requests on some connections, eight at once on each, whose answers nobody reads. */
function unread({ url }: TestGateway, target: string, connections: number, method = "GET"): Socket[] {
  const head = `${method} ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ann\r\nContent-Length: 0\r\n\r\n`;
  return Array.from({ length: connections }, () => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => undefined).pause();
    socket.write(head.repeat(8));
    atFileEnd(() => socket.destroy());
    return socket;
  });
}

/** Reads what comes on a connection: all of it, and the statuses in it. */
function read(socket: Socket) {
  let all = "";
  socket.setEncoding("latin1").on("data", (data) => (all += data));
  socket.resume();
  const statuses = () => [...all.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status));
  return { text: () => all, statuses };
}

async function figure(gateway: TestGateway, name: string): Promise<number> {
  const { body } = await gateway.get("/metrics", bearer("bob"));
  return Number(new RegExp(`^msb_gateway_${name} (\\S+)$`, "m").exec(body)?.[1]);
}

test("answers that nobody reads are bounded for each key; another key's are there", async () => {
  // An eighth of the heap is for answers.
  fakeHeap({ heap_size_limit: 8 * TOTAL });
  const { gateway } = await withKeys(KEYS).finally(() => fakeHeap());
  const value = "\u{1F600}".repeat(14 * 1024);
  await Promise.all(
    Array.from({ length: 18 }, (_, index) =>
      gateway.request("POST", "/v1/sandboxes", {
        body: { source: "oci", reference: "starter", name: `box-${index}`, env: [{ key: "A", value }] },
        headers: bearer("ann"),
      }),
    ),
  );
  // Eight that arrive together: the first page has not left when the others are made.
  const [socket] = unread(gateway, "/v1/sandboxes", 1) as [Socket];
  const { text, statuses } = read(socket);
  const bobs = await gateway.get("/v1/sandboxes", bearer("bob"));
  expect(bobs.body.data.length).toBeGreaterThan(0);
  await until(() => statuses().length === 8, "all answers", 20_000);
  expect(statuses().filter((status) => status === 429).length).toBeGreaterThan(0);
  expect(statuses().filter((status) => status === 200).length).toBeGreaterThan(0);
  await until(() => text().includes("bytes of answers"), "the reason");
  await until(async () => (await figure(gateway, "answer_bytes")) === 0, "their end");
  expect((await gateway.get("/v1/sandboxes", bearer("ann"))).status).toBe(200);
});

test("volumes are listed in pieces, and what all their labels take is bounded", async () => {
  const { gateway } = await withKeys(KEYS, { OWN_SANDBOXES: "true" });
  const labels = Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, "\u20ac".repeat(4_090)]));
  const make = (name: string, who = "ann", its: object = labels) =>
    gateway.request("POST", "/v1/volumes", { body: { name, labels: its }, headers: bearer(who) });
  const made = await Promise.all(Array.from({ length: 66 }, (_, index) => make(`v-${index}`)));
  const full = made.find(({ status }) => status !== 200);
  expect([full?.status, full?.body.error.code]).toEqual([429, "quota_exceeded"]);
  // Without labels, and for another key, there is room.
  expect((await make("plain", "ann", {})).status).toBe(200);
  expect((await make("v", "bob")).status).toBe(200);
  const { headers, body } = await gateway.get("/v1/volumes", bearer("ann"));
  expect(body).toHaveLength(made.filter(({ status }) => status === 200).length + 1);
  expect(body.find(({ name }: { name: string }) => name === "v-0")?.labels ?? labels).toEqual(labels);
  expect(headers.get("content-length")).toBeNull();
}, 60_000);
