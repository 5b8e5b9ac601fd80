import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { handleOf, TestGateway, temporaryFolder } from "./harness";

let gateway: TestGateway;
let id: string;
beforeAll(async () => {
  gateway = await TestGateway.start();
  id = (await gateway.request("POST", "/v1/volumes", { body: { name: "files", labels: { a: "b" } } })).body
    .id;
});

const encode = (path: string) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });
const file = (method: string, suffix: string, path: string, headers = {}) =>
  gateway.request(method, `/v1/volumes/${id}/files${suffix}`, { headers: { ...encode(path), ...headers } });
const post = (suffix: string, body: object) => gateway.post(`/v1/volumes/${id}/files${suffix}`, body);
const put = (path: string, body: Buffer | string) =>
  fetch(`${gateway.url}/v1/volumes/${id}/files/content`, {
    method: "PUT",
    headers: { authorization: "Bearer x", ...encode(path) },
    body: typeof body === "string" ? body : new Uint8Array(body),
  });
const content = async (path: string) => {
  const answer = await fetch(`${gateway.url}/v1/volumes/${id}/files/content`, {
    headers: { authorization: "Bearer x", ...encode(path) },
  });
  return Buffer.from(await answer.arrayBuffer());
};
const sha = (data: Buffer) => createHash("sha256").update(data).digest("hex");
const inside = (...path: string[]) =>
  join(gateway.home, "volumes", handleOf(gateway.home, "files", "volumes"), ...path);

describe("volumes", () => {
  test("create, list, delete; a name is taken once", async () => {
    const made = await gateway.request("POST", "/v1/volumes", { body: { name: "data", labels: {} } });
    expect(made.body).toMatchObject({ name: "data", kind: "managed", status: "active", labels: {} });
    const again = await gateway.request("POST", "/v1/volumes", { body: { name: "data" } });
    expect([again.status, again.body.error.code]).toEqual([409, "name_already_exists"]);
    const list = (await gateway.get("/v1/volumes")).body;
    expect(list.map(({ kind, name }: Record<string, string>) => [kind, name])).toEqual(
      expect.arrayContaining([
        ["host", null],
        ["managed", "data"],
        ["managed", "files"],
      ]),
    );
    expect((await gateway.delete(`/v1/volumes/${made.body.id}`)).status).toBe(200);
    const gone = await gateway.delete(`/v1/volumes/${made.body.id}`);
    expect([gone.status, gone.body.error.code]).toEqual([404, "volume_not_found"]);
  });

  test("keeps its labels and id", async () => {
    const list = (await gateway.get("/v1/volumes")).body;
    const found = list.find((each: { name: string }) => each.name === "files");
    expect(found).toMatchObject({ id, labels: { a: "b" } });
  });

  test("one with a cap is a disk of that size, whose files only a sandbox sees", async () => {
    const { status, body } = await gateway.request("POST", "/v1/volumes", {
      body: { name: "capped", capacity_gib: 2 },
    });
    expect([status, body.capacity_bytes]).toEqual([200, 2 * 1024 ** 3]);
    const files = await gateway.get(`/v1/volumes/${body.id}/files`, {
      "x-msb-file-path": Buffer.from("/").toString("base64url"),
    });
    expect([files.status, files.body.error.code]).toEqual([400, "unsupported"]);
    expect((await gateway.delete(`/v1/volumes/${body.id}`)).status).toBe(200);
  });

  test("refuses a bad name, and the removal of one in use", async () => {
    expect((await gateway.request("POST", "/v1/volumes", { body: { name: "../c" } })).status).toBe(400);
    await gateway.create("user", { mounts: [{ type: "named", name: "files", guest: "/d" }] });
    const used = await gateway.delete(`/v1/volumes/${id}`);
    expect([used.status, used.body.error.code]).toEqual([409, "invalid_state_transition"]);
    await gateway.delete("/v1/sandboxes/by-name/user");
  });
});

describe("files", () => {
  test.each([0, 1, 10 * 1024 * 1024])("%i bytes up and down", async (size) => {
    const data = randomBytes(size);
    expect((await put(`/deep/er/${size}.bin`, data)).status).toBe(200);
    expect(sha(await content(`/deep/er/${size}.bin`))).toBe(sha(data));
  });

  test("list, stat, exists, mkdir, copy, rename, remove", async () => {
    await post("/mkdir", { path: "/tree/sub" });
    await post("/mkdir", { path: "/tree/sub" });
    await put("/tree/a.txt", "hello");
    await post("/copy", { from: "/tree/a.txt", to: "/tree/sub/b.txt" });
    await post("/rename", { from: "/tree/a.txt", to: "/tree/ä c.txt" });
    const { entries } = (await file("GET", "", "/tree")).body;
    expect(
      entries
        .map(({ path, kind, size }: Record<string, unknown>) => [path, kind, kind === "file" && size])
        .sort(),
    ).toEqual([
      ["/tree/sub", "directory", false],
      ["/tree/ä c.txt", "file", 5],
    ]);
    expect((await file("GET", "/stat", "tree/sub/b.txt")).body.metadata).toMatchObject({
      kind: "file",
      size: 5,
    });
    expect((await file("GET", "/stat", "/")).body.metadata.kind).toBe("directory");
    expect((await file("GET", "/exists", "/tree/a.txt")).body).toEqual({ exists: false });
    expect((await file("GET", "/exists", "/tree/sub")).body).toEqual({ exists: true });
    expect((await file("DELETE", "", "/tree")).status).toBe(400);
    expect((await file("DELETE", "", "/tree", { "x-msb-file-recursive": "true" })).status).toBe(200);
    expect((await file("GET", "/exists", "/tree")).body).toEqual({ exists: false });
  });

  test("what is not there has its own code", async () => {
    for (const suffix of ["/stat", "/content", ""]) {
      const { status, body } = await file("GET", suffix, "/nothing");
      expect([suffix, status, body.error.code]).toEqual([suffix, 404, "volume_file_not_found"]);
    }
  });

  test.each(["../../x", "/../x", "/a/../../x", "a\0b"])("the path %j is refused", async (path) => {
    for (const [method, suffix] of [
      ["GET", "/stat"],
      ["GET", "/content"],
      ["DELETE", ""],
      ["PUT", "/content"],
    ] as const) {
      const { status, body } = await file(method, suffix, path);
      expect([method, status, body.error.code]).toEqual([method, 400, "invalid_volume_path"]);
    }
  });

  test("a header that is not base64url is refused", async () => {
    const { status } = await file("GET", "/stat", "", { "x-msb-file-path": "a/b" });
    expect(status).toBe(400);
    expect((await gateway.get(`/v1/volumes/${id}/files/stat`)).status).toBe(400);
  });

  test("links that a guest made lead nowhere", async () => {
    const outside = temporaryFolder();
    writeFileSync(join(outside, "secret"), "server's own");
    symlinkSync(outside, inside("link"));
    symlinkSync(join(outside, "secret"), inside("file-link"));
    for (const [suffix, path] of [
      ["/content", "/link/secret"],
      ["/content", "/file-link"],
      ["", "/link"],
      ["/stat", "/link/secret"],
    ] as const) {
      const { status, body } = await file("GET", suffix, path);
      expect([path, status]).toEqual([path, 400]);
      expect(JSON.stringify(body)).not.toContain("server's own");
    }
    expect((await put("/link/new", "x")).status).toBe(400);
    expect((await put("/file-link", "x")).status).toBe(200);
    expect((await post("/copy", { from: "/link/secret", to: "/copied" })).status).toBe(400);
    expect((await file("DELETE", "", "/link", { "x-msb-file-recursive": "true" })).status).toBe(200);
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("server's own");
  });

  test("a recursive removal unlinks links and goes into no other folder", async () => {
    const outside = temporaryFolder();
    writeFileSync(join(outside, "keep"), "x");
    mkdirSync(inside("tree", "sub"), { recursive: true });
    symlinkSync(outside, inside("tree", "sub", "out"));
    expect((await file("DELETE", "", "/tree", { "x-msb-file-recursive": "true" })).status).toBe(200);
    expect(readFileSync(join(outside, "keep"), "utf8")).toBe("x");
  });

  test("a pipe that a guest made blocks nobody", async () => {
    execFileSync("mkfifo", [inside("fifo")]);
    expect((await file("GET", "/content", "/fifo")).status).toBe(400);
  });

  test("the volume itself can't be removed or written over", async () => {
    expect((await file("DELETE", "", "/", { "x-msb-file-recursive": "true" })).status).toBe(400);
    expect((await put("/", "x")).status).toBe(400);
    expect((await file("GET", "/exists", "/deep")).body).toEqual({ exists: true });
  });
});
