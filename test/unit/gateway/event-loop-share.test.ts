import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import * as z from "zod";
import { readConfig } from "../../../docker/gateway/src/config";
import { guardedScope } from "../../../docker/gateway/src/http/guarded-scope";
import { Metrics } from "../../../docker/gateway/src/http/metrics";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import { createServer } from "../../../docker/gateway/src/http/server";
import { validatorCompiler } from "../../../docker/gateway/src/http/validate";
import { RateLimit } from "../../../docker/gateway/src/limits/rate-limit";
import { TokenBuckets } from "../../../docker/gateway/src/limits/token-buckets";
import { atFileEnd } from "../../harness/file-end";
import { newBody } from "./harness";
import { bearer, withKeys } from "./with-keys";

const unknown = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 1]));
const manyMistakes = (name: string) =>
  newBody(name, { env: Array.from({ length: 1024 }, () => unknown(18)) });

/** Milliseconds of this process's CPU. */
function cpuOf(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  return process.cpuUsage(before).user / 1000;
}

test("a body full of mistakes takes no longer to check than one full of what is right", () => {
  const check = validatorCompiler({ schema: createBody } as never);
  const right = newBody("box", {
    env: Array.from({ length: 1024 }, (_, at) => ({ key: `K${at}`, value: "" })),
  });
  const rules = Array.from({ length: 512 }, () => ({
    ...{ direction: "egress", destination: "any", action: "allow" },
    ports: Array.from({ length: 12 }, () => ({ start: -1, end: -1 })),
  }));
  const least = (body: unknown) =>
    Math.min(...Array.from({ length: 5 }, () => cpuOf(() => check(body as never))));
  const most = 5 * Math.max(1, least(right));
  for (const wrong of [manyMistakes("box"), newBody("box", { network: { policy: { rules } } })]) {
    expect(least(wrong)).toBeLessThan(most);
    expect(check(wrong as never)).toMatchObject({ error: { kind: "invalidSpec" } });
  }
});

test("all mistakes of a small body are told, up to ten", async () => {
  const { gateway } = await withKeys([{ id: "ann", key: "ann" }]);
  const told = async (count: number) => {
    const body = newBody("box", unknown(count));
    const { error } = (await gateway.request("POST", "/v1/sandboxes", { body, headers: bearer("ann") })).body;
    return error.message;
  };
  expect(await told(3)).toMatch(/k0: .*; k1: .*; k2: /);
  expect(await told(30)).toMatch(/k9: .*; and 20 more$/);
});

/** What asks a server of those routes, whose keys are what is given as such. */
async function served(routes: Parameters<typeof guardedScope>[2]) {
  const app = await createServer(readConfig({ LOG_LEVEL: "silent" }), new Metrics());
  const identify = ({ headers }: { headers: { authorization?: string } }) => ({
    id: headers.authorization,
    limits: {},
  });
  const guards = { keys: { identify } as never, rate: new RateLimit(1000) };
  guardedScope(app, { ...guards, browsers: { devMode: false, hostNames: [] } }, routes);
  await app.listen({ port: 0, host: "127.0.0.1" });
  atFileEnd(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  return (key: string, path: string, given?: object) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: given ? "POST" : "GET",
      headers: { authorization: key, ...(given && { "content-type": "application/json" }) },
      body: given && JSON.stringify(given),
    });
}

/** The clock stands still but for what is passed by hand: what this machine takes must not count. */
async function withClock(work: (pass: (ms: number) => void) => Promise<void>): Promise<void> {
  const real = performance.now.bind(performance);
  let now = Math.floor(real());
  performance.now = () => now;
  try {
    await work((ms) => {
      now += ms;
    });
  } finally {
    performance.now = real;
  }
}

test("a key whose bodies took too long gets 429 for the next, and nobody else does", () =>
  withClock(async (pass) => {
    const body = z.custom((given) => {
      // It takes half a minute to check.
      if ((given as { slow?: boolean }).slow) pass(30_000);
      return true;
    });
    const ask = await served((scope) => {
      scope.post("/body", { schema: { body } }, async () => ({}));
      scope.get("/none", async () => ({}));
    });
    expect((await ask("ann", "/body", { slow: true })).status).toBe(200);
    const refused = await ask("ann", "/body", {});
    expect([refused.status, Number(refused.headers.get("retry-after"))]).toEqual([429, 50]);
    expect((await ask("ann", "/none")).status).toBe(200);
    expect((await ask("bob", "/body", {})).status).toBe(200);
    pass(60_000);
    expect((await ask("ann", "/body", {})).status).toBe(200);
  }));

test("a key pays for all that its requests do until they wait, once, wherever they do it", () =>
  withClock(async (pass) => {
    const seconds = (count: number) => pass(count * 1000);
    const body = z.custom((given) => {
      seconds((given as { check?: number }).check ?? 0);
      return true;
    });
    const ask = await served((scope) => {
      scope.post("/work", { schema: { body } }, async (request) => {
        const { before = 0, charged = 0, after = 0, later = 0 } = request.body as Record<string, number>;
        seconds(before);
        request.charged(() => seconds(charged));
        seconds(after);
        await sleep(1);
        // What others do meanwhile.
        seconds(later);
        return {};
      });
    });
    let key = 0;
    const some = fc.nat({ max: 8 });
    const work = fc.record({ check: some, before: some, charged: some, after: some, later: some });
    await fc.assert(
      fc.asyncProperty(work, async (given) => {
        const name = `key${key++}`;
        expect((await ask(name, "/work", given)).status).toBe(200);
        const { check, before, charged, after, later } = given;
        // Of five seconds at once, and half of the time that passes.
        const paid = [before, charged, after].reduce(
          (left, each) => Math.min(5, left + each / 2) - each,
          5 - check,
        );
        const wait = Math.ceil(-paid / 0.5 - later);
        const { status, headers } = await ask(name, "/work", {});
        expect([status, Number(headers.get("retry-after"))]).toEqual(wait > 0 ? [429, wait] : [200, 0]);
      }),
      { numRuns: 40 },
    );
  }));

test("a key pays for what makes its long answers, by promises too, and not for what they wait for", () =>
  withClock(async (pass) => {
    const seconds = (count: number) => pass(count * 1000);
    const ways = {
      "/at-once": () => seconds(30),
      "/later": async () => {
        await Promise.all([undefined, Promise.resolve()]);
        seconds(30);
      },
      "/fails": async () => {
        await Promise.resolve();
        seconds(30);
        throw new Error("after all of it");
      },
      "/waits": async () => {
        await sleep(5);
        // What others do meanwhile.
        seconds(30);
      },
    };
    const ask = await served((scope) => {
      for (const [path, work] of Object.entries(ways))
        scope.get(path, { config: { longAnswer: true } }, async (request) => {
          await request.charged<unknown>(work);
          return {};
        });
    });
    for (const path of Object.keys(ways)) {
      await ask(path, path);
      const { status } = await ask(path, path);
      expect([path, status]).toEqual([path, path === "/waits" ? 200 : 429]);
    }
  }));

test("what is spent is owed for as long as it takes to earn it", () => {
  const rate = fc.record({ burst: fc.nat(100), perSecond: fc.integer({ min: 1, max: 100 }) });
  fc.assert(
    fc.property(rate, fc.nat(1000), (rate, tokens) => {
      const buckets = new TokenBuckets(10);
      buckets.spend("a", tokens, rate, 0);
      const wait = buckets.owed("a", rate, 0);
      expect(wait).toBeCloseTo(Math.max(0, tokens - rate.burst) / rate.perSecond);
      expect(buckets.owed("a", rate, wait * 1000 + 1)).toBe(0);
      expect(buckets.owed("b", rate, 0)).toBe(0);
    }),
  );
});
