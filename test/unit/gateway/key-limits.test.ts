import { describe, expect, test } from "vitest";
import { keyLimits } from "../../../components/settings/keys";
import { limits, limitVariables } from "../../../components/settings/limits";
import { until } from "./harness";
import { bearer, withKeys } from "./with-keys";

test("/v1/quotas has every limit that can be set, of the server and of a key", async () => {
  const ofServer = limitVariables(different(limits, 5000));
  const ofKey = different(keyLimits, 500);
  const { gateway } = await withKeys(
    [
      { id: "small", key: "s", limits: ofKey },
      { id: "free", key: "f" },
    ],
    Object.fromEntries(Object.entries(ofServer).map(([name, value]) => [name, String(value)])),
  );
  const told = async (key: string) => Object.values((await gateway.get("/v1/quotas", bearer(key))).body);
  for (const [name, value] of Object.entries(ofServer)) expect(await told("f"), name).toContain(value);
  for (const [name, value] of Object.entries(ofKey)) expect(await told("s"), name).toContain(value);
});

/** Each another number, none larger than that of the limit before. */
function different({ shape }: { shape: object }, first: number): Record<string, number> {
  return Object.fromEntries(Object.keys(shape).map((name, at) => [name, first - at]));
}

describe("limits of a key", () => {
  test("sandboxes, memory and CPUs of one key leave the others theirs", async () => {
    const { create, gateway } = await withKeys(
      [
        { id: "small", key: "s", limits: { sandboxes: 2, memoryMiB: 256, cpus: 3 } },
        { id: "free", key: "f" },
      ],
      { LIMIT_SANDBOX_CPUS: "8" },
    );
    const of = (memory_mib: number, vcpus = 1) => ({ resources: { memory_mib, vcpus } });
    expect((await create("s", "s1", of(128))).status).toBe(200);
    const memory = await create("s", "s2", of(160));
    expect([memory.status, memory.body.error.code]).toEqual([429, "quota_exceeded"]);
    expect(memory.body.error.message).toContain('256 MiB for the key "small"');
    expect((await create("s", "s2", of(64, 3))).body.error.message).toContain(
      'limit of 3 CPUs for the key "small"',
    );
    expect((await create("s", "s2", of(64))).status).toBe(200);
    expect((await create("s", "s3", of(32))).body.error.message).toContain("limit of 2 running sandboxes");
    expect((await create("f", "f1", of(512))).status).toBe(200);
    expect((await create("f", "f2")).status).toBe(200);
    expect((await gateway.get("/v1/quotas", bearer("s"))).body).toMatchObject({
      ...{
        max_concurrent_sandboxes: 2,
        max_memory_mib: 256,
        memory_mib_used: 192,
        max_vcpus: 3,
        vcpus_used: 2,
      },
    });
    expect((await gateway.get("/v1/quotas", bearer("f"))).body).toMatchObject({
      ...{ max_concurrent_sandboxes: 1000, max_memory_mib: 65536, memory_mib_used: 768, vcpus_used: 4 },
    });
  });

  test("requests per second take the place of the server's, either way", async () => {
    const { gateway } = await withKeys(
      [
        { id: "slow", key: "s", limits: { requestsPerSecond: 1 } },
        { id: "fast", key: "f", limits: { requestsPerSecond: 1000 } },
      ],
      { LIMIT_REQUESTS_PER_SECOND: "3" },
    );
    const ten = async (key: string) =>
      Promise.all(Array.from({ length: 10 }, () => gateway.get("/v1/volumes/default", bearer(key))));
    const slow = await ten("s");
    expect(slow.filter(({ status }) => status === 200)).toHaveLength(2);
    expect(slow.find(({ status }) => status === 429)?.headers.get("retry-after")).toBe("1");
    expect((await ten("f")).every(({ status }) => status === 200)).toBe(true);
    expect((await gateway.get("/v1/quotas", bearer("f"))).body.max_requests_per_second).toBe(1000);
  });

  test("connections", async () => {
    const { gateway, create } = await withKeys([{ id: "one", key: "o", limits: { connections: 1 } }]);
    const { body } = await create("o", "box");
    const cut = new AbortController();
    const stream = await fetch(`${gateway.url}/v1/sandboxes/${body.id}/logs`, {
      headers: bearer("o"),
      signal: cut.signal,
    });
    expect(stream.status).toBe(200);
    const second = await gateway.get(`/v1/sandboxes/${body.id}/logs`, bearer("o"));
    expect([second.status, second.body.error.message]).toEqual([
      429,
      "more than 1 open connections with one key",
    ]);
    cut.abort();
    await until(async () => {
      const again = new AbortController();
      const { status } = await fetch(`${gateway.url}/v1/sandboxes/${body.id}/logs`, {
        headers: bearer("o"),
        signal: again.signal,
      });
      again.abort();
      return status === 200;
    }, "the place is free again");
  });
});
