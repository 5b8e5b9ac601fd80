import { get } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { adminSocket } from "../../../docker/gateway/src/backends/msb/admin";
import { readConfig } from "../../../docker/gateway/src/config";
import { ConfigError } from "../../../docker/gateway/src/errors";
import { newBody, START, TestGateway, temporaryFolder } from "./harness";

describe("limits", () => {
  test("past a limit: 429 with its name and value; a stop makes room", async () => {
    const gateway = await TestGateway.start({
      LIMIT_SANDBOXES: "2",
      LIMIT_MEMORY_MIB: "256",
      LIMIT_CPUS: "3",
      LIMIT_SANDBOX_CPUS: "3",
    });
    const memory = (memory_mib: number, vcpus = 1) => ({ resources: { memory_mib, vcpus } });
    expect((await gateway.create("a", memory(128))).status).toBe(200);
    const tooMuch = await gateway.create("b", memory(200));
    expect([tooMuch.status, tooMuch.body.error.code]).toEqual([429, "quota_exceeded"]);
    expect(tooMuch.body.error.message).toContain("256 MiB");
    expect((await gateway.create("b", memory(64, 3))).body.error.message).toContain("limit of 3 CPUs");
    expect((await gateway.create("b", memory(64))).status).toBe(200);
    expect((await gateway.create("c", memory(32))).body.error.message).toContain(
      "limit of 2 running sandboxes",
    );
    expect((await gateway.get("/v1/quotas")).body).toMatchObject({
      ...{ total_sandboxes: 2, concurrent_persistent_running: 2, memory_mib_used: 192, max_memory_mib: 256 },
      ...{ vcpus_used: 2, max_vcpus: 3, max_concurrent_sandboxes: 2 },
    });
    await gateway.post("/v1/sandboxes/by-name/a/stop");
    expect((await gateway.create("c", memory(32))).status).toBe(200);
    expect((await gateway.post("/v1/sandboxes/by-name/a/start?wait_for=running")).status).toBe(429);
  });

  test("what one sandbox may ask for", async () => {
    const gateway = await TestGateway.start({ LIMIT_SANDBOX_MEMORY_MIB: "128" });
    const { status, body } = await gateway.create("a", { resources: { memory_mib: 129 } });
    expect([status, body.error.message]).toEqual([400, expect.stringContaining("limit of 128")]);
  });

  test("two creates at once don't share the last place", async () => {
    const gateway = await TestGateway.start({ LIMIT_SANDBOXES: "1" });
    const both = await Promise.all([gateway.create("a"), gateway.create("b")]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 429]);
  });

  test("requests per second, and bytes of a body", async () => {
    const gateway = await TestGateway.start({ LIMIT_REQUESTS_PER_SECOND: "5", LIMIT_BODY_BYTES: "1000" });
    const large = await gateway.create("a", { labels: { x: "y".repeat(1000) } });
    expect([large.status, large.body.error.code]).toEqual([413, "invalid_request"]);
    const began = performance.now();
    const many = await Promise.all(Array.from({ length: 50 }, () => gateway.get("/v1/quotas")));
    const seconds = (performance.now() - began) / 1000;
    const refused = many.filter(({ status }) => status === 429);
    // A burst of twice the rate passes, and what the time has brought.
    expect(refused.length).toBeGreaterThanOrEqual(50 - 10 - Math.ceil(5 * seconds));
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.body.error.code).toBe("rate_limited");
  });
});

describe("operations", () => {
  test("readiness tells what is wrong, each by itself", async () => {
    const fine = await TestGateway.start({ KVM_DEVICE: "/dev/null" });
    const { status, body } = await fine.get("/readyz");
    expect([status, body.ready]).toEqual([200, true]);
    const home = temporaryFolder();
    const bad = await TestGateway.start({ KVM_DEVICE: "/dev/missing", MSB_PATH: "/bin/false" }, home);
    const answer = await bad.get("/readyz");
    expect([answer.status, answer.body.ready]).toEqual([503, false]);
    expect(answer.body.checks.kvm.reason).toContain("/dev/missing");
    expect(answer.body.checks.msb.ok).toBe(false);
    expect(answer.body.checks.state.ok).toBe(true);
  });

  test("the reasons are told on the socket inside the container, too", async () => {
    const gateway = await TestGateway.start({ DEV_MODE: "false", KVM_DEVICE: "/dev/missing" });
    expect((await gateway.get("/readyz")).body).toEqual({ ready: false });
    const told = await new Promise<string>((resolve, reject) => {
      const asked = get({ socketPath: adminSocket(gateway.home), path: "/readyz" });
      asked.once("response", (answer) => text(answer).then(resolve, reject)).once("error", reject);
    });
    expect(JSON.parse(told).checks.kvm.reason).toContain("/dev/missing");
  });

  test("a server whose msb fails says so and is not broken by it", async () => {
    const gateway = await TestGateway.start({ MSB_PATH: "/nonexistent/msb" });
    const { status, body } = await gateway.get("/v1/sandboxes");
    expect([status, body.error.code]).toEqual([503, "orchestrator_unreachable"]);
    expect((await gateway.get("/healthz")).status).toBe(200);
  });

  test("metrics and the API description", async () => {
    const gateway = await TestGateway.start();
    await gateway.create("a");
    const metrics = (await gateway.get("/metrics")).body;
    expect(metrics).toContain('msb_gateway_sandboxes{status="running"} 1');
    expect(metrics).toContain('msb_gateway_boot_seconds_count{result="ok"} 1');
    expect(metrics).toContain('route="/v1/sandboxes"');
    const description = (await gateway.get("/openapi.json")).body;
    expect(Object.keys(description.paths)).toEqual(
      expect.arrayContaining(["/v1/sandboxes", "/v1/sandboxes/{id}/logs", "/v1/volumes/{id}/files/content"]),
    );
    expect(description.paths["/v1/sandboxes"].post.requestBody).toBeDefined();
  });

  test.each([
    ["GET", "/nope", undefined, 404, "not_found"],
    ["GET", "/v1/nope", undefined, 404, "not_found"],
    ["GET", "/v1/snapshots?limit=x", undefined, 400, "invalid_request"],
    ["POST", "/v1/snapshots", { kind: "full", name: "a", sandbox_id: "x" }, 400, "invalid_request"],
    ["PATCH", "/v1/sandboxes", {}, 404, "not_found"],
    ["GET", "/v1/sandboxes/%zz", undefined, 400, "invalid_request"],
    ["GET", "/v1/sandboxes/by-name/..%2f..%2fetc", undefined, 404, "sandbox_not_found"],
    ["POST", "/v1/sandboxes", [], 400, "invalid_request"],
    ["POST", "/v1/sandboxes", null, 400, "invalid_request"],
    ["POST", "/v1/sandboxes?start=maybe", newBody("w"), 400, "invalid_request"],
    ["POST", "/v1/sandboxes", { name: "a" }, 400, "invalid_sandbox_config"],
    ["POST", "/v1/sandboxes?wait_timeout=5&start=true", newBody("w"), 400, "invalid_request"],
  ] as const)("%s %s is %i the client's mistake", async (method, path, body, status, code) => {
    shared ??= await TestGateway.start();
    const answer = await shared.request(method, path, { body });
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
  });

  test.each([
    ["no HTTP at all", "hello\r\n\r\n"],
    ["a huge header", `GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(100_000)}\r\n\r\n`],
    [
      "two lengths",
      "POST /v1/sandboxes HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ],
    ["broken JSON", post('{"name":')],
    ["a prototype in JSON", post('{"__proto__":{"a":1}}')],
    ["an upgrade to something else", upgrade("h2c", "x")],
    ["a bad WebSocket key", upgrade("websocket", "short")],
    [
      "a WebSocket upgrade of another route",
      upgrade("websocket", "dGhlIHNhbXBsZSBub25jZQ==", "/v1/sandboxes"),
    ],
  ])("%s: no 5xx, and the server lives on", async (_what, bytes) => {
    shared ??= await TestGateway.start();
    const answer = await raw(shared.url, bytes);
    expect(answer).not.toMatch(/^HTTP\/1\.1 5/);
    if (answer) expect(answer).toContain('{"error":{"code":"');
    expect((await shared.get("/healthz")).status).toBe(200);
  });

  test("all mistakes of the environment at once", () => {
    expect(() => readConfig({ PORT: "99999", DEV_MODE: "maybe" })).toThrow(ConfigError);
    expect(() => readConfig({ PORT: "99999", DEV_MODE: "maybe" })).toThrow(
      /PORT="99999".*\n.*DEV_MODE="maybe"/,
    );
    expect(readConfig({ PORT: "" }).PORT).toBe(5555);
  });
});

let shared: TestGateway | undefined;

function post(body: string): string {
  const head = `POST /v1/sandboxes?${START} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\n`;
  return `${head}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

function upgrade(protocol: string, key: string, path = "/v1/sandboxes/x/agent"): string {
  const head = `GET ${path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\nconnection: Upgrade\r\n`;
  return `${head}upgrade: ${protocol}\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`;
}

/** Sends bytes and gives what comes back within half a second. */
function raw(url: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
      socket.end();
    });
    socket.on("close", () => resolve(answer)).on("error", reject);
    socket.setTimeout(500, () => socket.destroy());
    socket.write(bytes);
  });
}
