import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { newBody, TestGateway } from "./harness";

/*
 * What users of such servers have reported elsewhere, tried here by the number of the report. Others have their tests in:
 * 5 test/integration/gateway-full-disk; 6 volumes-guest; 15 volumes-transfers, volumes-files; 19 limit-settings,
 * total-limits; 20 keepalive; 42 volumes-files, volumes-lists.
 */

const WORKSPACE = "/v1/volumes/00000000-0000-4000-8000-000000000002/files";
const at = (path: string) => ({ "x-msb-file-path": Buffer.from(path).toString("base64url") });

test("32: variables come to the guest as they were sent, whatever is in them", async () => {
  const gateway = await TestGateway.start();
  const env = {
    ...{ QUOTED: 'say "hi"', LINES: "line1\nline2", UNICODE: "über 🐳", EMPTY: "", SPACES: "  a  " },
    ...{
      BACKSLASH: "a\\nb",
      SINGLE: "it's",
      PERCENT: "%s %%",
      JSON: '{"a":["b"]}',
      "with.dot-and space": "x",
    },
  };
  const given = Object.entries(env).map(([key, value]) => ({ key, value }));
  expect((await gateway.create("env", { env: given })).status).toBe(200);
  expect(gateway.made("env")?.conf.env).toEqual(env);
  const refused = await gateway.create("nul", { env: [{ key: "A", value: "a\0b" }] });
  expect([refused.status, refused.body.error.code]).toEqual([400, "invalid_sandbox_config"]);
  expect(refused.body.error.message).toContain("env[0].value");
});

describe("38: a file's name comes back as it was sent", async () => {
  const gateway = await TestGateway.start({ LIMIT_DISK_RESERVE_MIB: "0" });
  const names = [
    "a b",
    "ü",
    "u\u0308",
    "🐳",
    "a%2Fb",
    "-rf",
    "a\nb",
    "a\\b",
    '"',
    "...",
    "~",
    "$(id)",
    "x".repeat(255),
  ];
  test.each(names)("%j", async (name) => {
    const path = at(`/${name}`);
    for (const content of ["", "content"]) {
      const put = await fetch(`${gateway.url}${WORKSPACE}/content`, {
        ...{ method: "PUT", body: content },
        headers: { authorization: "Bearer x", ...path },
      });
      expect(put.status).toBe(200);
      const got = await fetch(`${gateway.url}${WORKSPACE}/content`, {
        headers: { authorization: "Bearer x", ...path },
      });
      expect([got.status, await got.text()]).toEqual([200, content]);
    }
    const { entries } = (await gateway.get(WORKSPACE, at("/"))).body;
    expect(entries.map((entry: { path: string }) => entry.path)).toEqual([`/${name}`]);
    expect((await gateway.get(`${WORKSPACE}/stat`, path)).body.metadata).toMatchObject({
      path: `/${name}`,
      size: 7,
    });
    expect((await gateway.request("DELETE", WORKSPACE, { headers: path })).status).toBe(200);
    expect((await gateway.get(WORKSPACE, at("/"))).body.entries).toEqual([]);
  });
});

test("39: what an image or a request names as entrypoint is handed on, and told again", async () => {
  const gateway = await TestGateway.start();
  const runtime = { ...newBody("x").runtime, entrypoint: ["/bin/sh", "-c"], cmd: ["echo hi"] };
  expect((await gateway.create("entry", { runtime })).status).toBe(200);
  expect(gateway.made("entry")?.conf).toMatchObject({ entrypoint: ["/bin/sh", "-c"], cmd: ["echo hi"] });
});

test("D: a pipe in a volume holds up nobody who copies or reads it", async () => {
  const gateway = await TestGateway.start({ LIMIT_DISK_RESERVE_MIB: "0" });
  const folder = join(gateway.home, "workspace");
  mkdirSync(folder, { recursive: true });
  execFileSync("mkfifo", [join(folder, "pipe")]);
  writeFileSync(join(folder, "file"), "x");
  const copied = await gateway.post(`${WORKSPACE}/copy`, { from: "/pipe", to: "/other" });
  const read = await gateway.get(`${WORKSPACE}/content`, at("/pipe"));
  expect([copied, read].map(({ status, body }) => [status, body.error.code])).toEqual([
    [400, "invalid_volume_path"],
    [400, "invalid_volume_path"],
  ]);
  expect((await gateway.post(`${WORKSPACE}/copy`, { from: "/file", to: "/other" })).status).toBe(200);
});
