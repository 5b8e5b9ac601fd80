import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { NEW_CLIENT, newBody, OLD_CLIENT } from "./harness";
import { bearer, withKeys } from "./with-keys";

/** Answers that grow with what there is, or are as large as a client likes. */
const LONG = [
  ...["GET /v1/sandboxes", "GET /v1/volumes", "GET /v1/snapshots", "GET /metrics"],
  ...["GET /v1/sandboxes/ID", "GET /v1/sandboxes/by-name/NAME"],
  ...["POST /v1/sandboxes/ID/start", "POST /v1/sandboxes/by-name/NAME/start"],
];
const KEYS = Array.from({ length: 20 }, (_, index) => `key-${index}`);

test("a key whose answers took too long gets 429 for the next, and nobody else does", async () => {
  const { gateway } = await withKeys([...KEYS, "bob"].map((id) => ({ id, key: id })));
  const ask = (key: string, method: string, path: string, body?: object) =>
    gateway.request(method, path, {
      body,
      headers: { ...bearer(key), "user-agent": key === "bob" ? NEW_CLIENT : OLD_CLIENT },
    });
  const { body } = await ask("bob", "POST", "/v1/sandboxes?start=true&wait_for=running", newBody("slow"));
  await ask("bob", "POST", "/v1/volumes", { name: "slow" });
  await ask("bob", "POST", "/v1/snapshots", { sandbox_id: body.id, name: "slow" });

  // The clock stands still, but for half a minute with each answer about these, and with the figures. Not with what is
  // written to the disk, at any moment: what a key owes is forgotten as time goes by.
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
    const isAnswer = value?.name?.startsWith?.("slow") && ("status" in value || "digest" in value);
    if (isAnswer) ahead += 30_000;
    return stringify(value, ...rest);
  };
  try {
    const keys = KEYS.values();
    const one = async (route: string) => {
      const key = keys.next().value as string;
      // What is as it was takes no time, but this one's answer has been made for newer clients alone.
      const name = `slow-${key}`;
      const { id } = (await ask("bob", "POST", "/v1/sandboxes", newBody(name))).body;
      const [method = "", path = ""] = route.replace("ID", id).replace("NAME", name).split(" ");
      ahead += 10_000_000;
      expect((await ask(key, method, path)).status).toBe(200);
      const refused = await ask(key, method, path);
      expect([refused.status, refused.body.error.code]).toEqual([429, "rate_limited"]);
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(40);
      // What takes no time is answered, and so is another key's.
      expect((await ask(key, "GET", "/v1/quotas")).status).toBe(200);
      expect((await ask("bob", method, path)).status).toBe(200);
      ahead += 10_000_000;
      expect((await ask(key, method, path)).status).toBe(200);
    };
    const some = fc.constantFrom(...LONG);
    const examples = LONG.map((route): [string] => [route]);
    await fc.assert(fc.asyncProperty(some, one), { numRuns: 8, examples, endOnFailure: true });
  } finally {
    performance.now = real;
    JSON.stringify = stringify;
  }
});
