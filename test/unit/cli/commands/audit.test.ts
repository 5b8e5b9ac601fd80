import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { exitCodeOf, npmAudit, readAdvisories, readSignatures } from "../../../../cli/commands/audit";
import { projectRoot } from "../../../../setup/project";

const HIGH = 3;
const CRITICAL = 4;
const gateway = join(projectRoot, "docker/gateway");
let registry: Server;
let advisories: object | undefined;

/** A registry with an advisory database, as npm asks it. */
beforeAll(async () => {
  registry = createServer((request, response) => {
    request.resume().on("end", () => {
      const name = decodeURIComponent(request.url?.slice(1) ?? "");
      const versions = { "1.0.0": { name, version: "1.0.0" } };
      const packument = { name, "dist-tags": { latest: "1.0.0" }, versions };
      const answer = request.method === "POST" ? advisories : packument;
      response.statusCode = answer ? 200 : 405;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(answer ?? {}));
    });
  });
  await new Promise<void>((resolve) => registry.listen(0, "127.0.0.1", resolve));
});
afterAll(() => registry.close());

async function asked(least: number) {
  const { port } = registry.address() as AddressInfo;
  vi.stubEnv("npm_config_registry", `http://127.0.0.1:${port}/`);
  return readAdvisories(await npmAudit(gateway, ["--omit=dev"]), least);
}

it("names an advisory on a package of the lock, and counts it by its severity", async () => {
  const advisory = { id: 1, url: "https://example.test/1", title: "bad thing", severity: "high" };
  advisories = { pino: [{ ...advisory, vulnerable_versions: "*", cwe: [], cvss: { score: 7.5 } }] };
  const verdict = await asked(HIGH);
  expect(verdict).toMatchObject({ severe: true });
  expect(verdict).toHaveProperty("lines", expect.arrayContaining(["high: pino * (bad thing)"]));
  expect(exitCodeOf([verdict])).toBe(1);
  expect(exitCodeOf([await asked(CRITICAL)])).toBe(0);
});

it("knows of none where the database has none", async () => {
  advisories = {};
  expect(await asked(0)).toEqual({ lines: ["none"], severe: false });
});

it("does not take a database that does not answer for one that has nothing", async () => {
  advisories = undefined;
  const verdict = await asked(0);
  expect(verdict).toHaveProperty("unknown", expect.stringContaining("405"));
  expect(exitCodeOf([verdict, { lines: [], severe: false }])).toBe(2);
  expect(exitCodeOf([verdict, { lines: [], severe: true }])).toBe(1);
});

it.each<[object, object]>([
  [
    { invalid: [], missing: [] },
    { lines: ["all are right"], severe: false },
  ],
  [
    { invalid: [{ name: "a", version: "1.0.0" }], missing: [{ name: "b", version: "2.0.0" }] },
    { lines: ["invalid: a@1.0.0", "missing: b@2.0.0"], severe: true },
  ],
  [{ error: { summary: "no keys" } }, { unknown: "no keys" }],
])("reads signatures %j", (json, verdict) => {
  expect(readSignatures(json)).toEqual(verdict);
});
