import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { writeKeyFile } from "../../harness/key-file";
import { newBody, START, TestGateway, temporaryFolder } from "./harness";

const keys = ["ann", "bob", "operator"].map((id) => ({
  id,
  key: `key-of-${id}`,
  operator: id === "operator",
}));
const as = (id: string) => ({ authorization: `Bearer key-of-${id}` });
let gateway: TestGateway;

async function start(env: Record<string, string>, home?: string) {
  const file = join(temporaryFolder(), "keys");
  writeKeyFile(file, keys);
  return TestGateway.start({ DEV_MODE: "false", API_KEYS_FILE: file, ...env }, home);
}
const request = (id: string, method: string, path: string, body?: unknown) =>
  gateway.request(method, path, { body, headers: as(id) });
const create = (id: string, name: string, change?: Record<string, unknown>) =>
  request(id, "POST", `/v1/sandboxes?${START}`, newBody(name, change));

describe("sandboxes and volumes of one's own", () => {
  let box: string;
  let volume: string;
  beforeAll(async () => {
    gateway = await start({ OWN_SANDBOXES: "true" });
    box = (await create("ann", "box")).body.id;
    volume = (await request("ann", "POST", "/v1/volumes", { name: "data" })).body.id;
  });

  test.each([
    ["GET", "/v1/sandboxes/:box"],
    ["GET", "/v1/sandboxes/by-name/box"],
    ["POST", "/v1/sandboxes/:box/start"],
    ["POST", "/v1/sandboxes/by-name/box/start"],
    ["POST", "/v1/sandboxes/:box/stop"],
    ["POST", "/v1/sandboxes/by-name/box/stop"],
    ["DELETE", "/v1/sandboxes/:box"],
    ["DELETE", "/v1/sandboxes/by-name/box"],
    ["GET", "/v1/sandboxes/:box/logs"],
  ])("%s %s of another key's sandbox is as one that is not there", async (method, path) => {
    const other = await request("bob", method, path.replace(":box", box));
    const none = await request("bob", method, path.replace(":box", "no-such-id").replace("/box", "/no-such"));
    expect([other.status, other.body.error.code]).toEqual([404, "sandbox_not_found"]);
    expect(other.body.error.code).toBe(none.body.error.code);
    expect((await request("ann", "GET", `/v1/sandboxes/${box}`)).body.status).toBe("running");
  });

  test("an upgrade to another key's agent is refused", async () => {
    const client = new WebSocket(`${gateway.url.replace("http", "ws")}/v1/sandboxes/${box}/agent`, {
      headers: as("bob"),
    });
    const status = await new Promise((resolve) =>
      client.once("unexpected-response", (_request, answer) => resolve(answer.statusCode)),
    );
    expect(status).toBe(404);
  });

  test("lists, pages of the cache too, and figures show one's own", async () => {
    await create("bob", "bobs");
    for (let again = 0; again < 2; again++) {
      const names = async (id: string) =>
        (await request(id, "GET", "/v1/sandboxes")).body.data.map(({ name }: { name: string }) => name);
      expect(await names("ann")).toEqual(["box"]);
      expect(await names("bob")).toEqual(["bobs"]);
    }
    expect((await request("bob", "GET", "/v1/quotas")).body).toMatchObject({
      ...{ total_sandboxes: 1, concurrent_persistent_running: 1, memory_mib_used: 64 },
    });
    expect((await request("bob", "GET", "/v1/volumes")).body).toEqual([]);
    expect((await request("ann", "GET", "/v1/volumes")).body.map(({ id }: { id: string }) => id)).toEqual([
      volume,
    ]);
  });

  test("figures of all keys together are for the operator's key", async () => {
    expect((await request("ann", "GET", "/metrics")).status).toBe(403);
    const { status, body } = await request("operator", "GET", "/metrics");
    expect([status, body]).toEqual([200, expect.stringContaining("msb_gateway_sandboxes")]);
  });

  test("a name is each key's own: what others have takes none, and tells nothing", async () => {
    const { status, body } = await create("bob", "box");
    expect(status).toBe(200);
    expect(JSON.stringify(body)).not.toContain("ann");
    expect((await create("bob", "box")).body.error.code).toBe("name_already_exists");
  });

  test("another key's volume: not to be seen, removed, read, written or mounted", async () => {
    const gone = { status: 404, code: "volume_not_found" };
    const answer = async (method: string, path: string, body?: unknown, headers = {}) => {
      const { status, body: text } = await gateway.request(method, path, {
        body,
        headers: { ...as("bob"), "x-msb-file-path": "Lw", ...headers },
      });
      return { status, code: text.error.code };
    };
    expect(await answer("DELETE", `/v1/volumes/${volume}`)).toEqual(gone);
    for (const each of [volume, "00000000-0000-4000-8000-000000000002"]) {
      const files = `/v1/volumes/${each}/files`;
      for (const path of ["", "/stat", "/exists", "/content"])
        expect(await answer("GET", `${files}${path}`)).toEqual(gone);
      expect(await answer("DELETE", files)).toEqual(gone);
      expect(await answer("POST", `${files}/mkdir`, { path: "/a" })).toEqual(gone);
      expect(await answer("POST", `${files}/copy`, { from: "/a", to: "/b" })).toEqual(gone);
      expect(await answer("POST", `${files}/rename`, { from: "/a", to: "/b" })).toEqual(gone);
      expect(await answer("PUT", `${files}/content`, "x")).toEqual(gone);
    }
    expect(await answer("GET", "/v1/volumes/default")).toEqual(gone);
    const mounts = [{ type: "named", name: "data", guest: "/data" }];
    const mounted = await create("bob", "thief", { mounts });
    expect([mounted.status, mounted.body.error.code]).toEqual([404, "volume_not_found"]);
    expect((await create("bob", "thief", { mounts: [{ ...mounts[0], name: "nobodys" }] })).status).toBe(404);
    expect((await create("ann", "owner", { mounts })).status).toBe(200);
  });

  test("owners are kept over a restart, and switched off, all see all", async () => {
    const { home } = gateway;
    await gateway.close();
    gateway = await start({ OWN_SANDBOXES: "true" }, home);
    expect((await request("bob", "GET", `/v1/sandboxes/${box}`)).status).toBe(404);
    expect((await request("ann", "GET", `/v1/sandboxes/${box}`)).status).toBe(200);
    expect((await request("bob", "DELETE", `/v1/volumes/${volume}`)).status).toBe(404);
    await gateway.close();
    gateway = await start({}, home);
    expect((await request("bob", "GET", `/v1/sandboxes/${box}`)).status).toBe(200);
    expect((await request("bob", "GET", "/v1/volumes")).body).toHaveLength(2);
  });
});
