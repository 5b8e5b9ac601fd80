import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { newBody } from "./harness";
import { bearer, withKeys } from "./with-keys";

/** Answers that grow with what there is. */
const LISTS = ["/v1/sandboxes", "/v1/volumes", "/v1/snapshots", "/metrics"];
const KEYS = Array.from({ length: 20 }, (_, index) => `key-${index}`);

test("a key whose lists took too long gets 429 for the next, and nobody else does", async () => {
  const { gateway } = await withKeys([...KEYS, "bob"].map((id) => ({ id, key: id })));
  const ask = (key: string, method: string, path: string, body?: object) =>
    gateway.request(method, path, { body, headers: bearer(key) });
  const { body } = await ask("bob", "POST", "/v1/sandboxes?start=true&wait_for=running", newBody("slow"));
  await ask("bob", "POST", "/v1/volumes", { name: "slow" });
  await ask("bob", "POST", "/v1/snapshots", { sandbox_id: body.id, name: "slow" });

  // The clock stands still, but for half a minute with the text of each of these, and with the figures.
  let ahead = 0;
  const [real, stringify, stopped] = [performance.now, JSON.stringify, performance.now()];
  const { backend } = gateway.gateway;
  const statuses = backend.statuses.bind(backend);
  vi.spyOn(backend, "statuses").mockImplementation(() => {
    ahead += 30_000;
    return statuses();
  });
  performance.now = () => stopped + ahead;
  JSON.stringify = (value: { name?: string }, ...rest: never[]) => {
    if (value?.name?.startsWith?.("slow")) ahead += 30_000;
    return stringify(value, ...rest);
  };
  try {
    const keys = KEYS.values();
    const one = async (path: string) => {
      const key = keys.next().value as string;
      // A page that is as it was takes no time.
      await ask("bob", "POST", "/v1/sandboxes", newBody(`slow-${key}`));
      ahead += 10_000_000;
      expect((await ask(key, "GET", path)).status).toBe(200);
      const refused = await ask(key, "GET", path);
      expect([refused.status, refused.body.error.code]).toEqual([429, "rate_limited"]);
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(40);
      // What takes no time is answered, and so is another key's.
      expect((await ask(key, "GET", `/v1/sandboxes/${body.id}`)).status).toBe(200);
      expect((await ask("bob", "GET", path)).status).toBe(200);
      ahead += 10_000_000;
      expect((await ask(key, "GET", path)).status).toBe(200);
    };
    const some = fc.constantFrom(...LISTS);
    const examples = LISTS.map((path): [string] => [path]);
    await fc.assert(fc.asyncProperty(some, one), { numRuns: 8, examples, endOnFailure: true });
  } finally {
    performance.now = real;
    JSON.stringify = stringify;
  }
});
