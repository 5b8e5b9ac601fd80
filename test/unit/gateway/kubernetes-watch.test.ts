import { readFileSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import * as z from "zod";
import { KeySecret, keysIn, secretShape } from "../../../docker/gateway/src/kubernetes/key-secret";
import { addressesOf, statefulSetShape } from "../../../docker/gateway/src/kubernetes/stateful-set";
import { Watch } from "../../../docker/gateway/src/kubernetes/watch";
import { CertificateAuthority } from "../../harness/certificates";
import { FakeKubernetes } from "../../harness/fake-kubernetes";
import { atFileEnd } from "../../harness/file-end";
import { randomFrom, seedFromEnvironment } from "../../harness/random";
import { temporaryFolder, until } from "./harness";
import { accountFolder, apiOf, askerOf, fakeCluster, quiet } from "./kubernetes-world";

const SECRETS = "/api/v1/namespaces/sandboxes/secrets";
const shape = z.object({ data: z.object({ turn: z.string() }) });

test("whatever becomes of the way to the API: what an object is now is told, and nothing older after it", async () => {
  const seed = seedFromEnvironment("WATCH_SEED");
  const random = randomFrom(seed);
  const cluster = await fakeCluster();
  const { fake } = cluster;
  const ask = askerOf(cluster);
  const seen: (number | undefined)[] = [];
  let failing = false;
  const watch = new Watch({
    ...{ api: apiOf(cluster, 200), title: "it", collection: SECRETS, name: "keys", shape, log: quiet },
    use: (found) => {
      if (failing && random.between(0, 1)) throw new Error("it could not be used");
      seen.push(found && Number(found.data.turn));
    },
  });
  const end = new AbortController();
  const over = watch.follow(end.signal);
  let now: number | undefined;
  const change = async (turn: number) => {
    const path = `${SECRETS}/keys`;
    if (now !== undefined && random.between(0, 4) === 0) {
      await ask({ method: "DELETE", path });
      now = undefined;
      return;
    }
    const body = { metadata: { name: "keys" }, data: { turn: String(turn) } };
    await ask(now === undefined ? { method: "POST", path: SECRETS, body } : { method: "PATCH", path, body });
    now = turn;
  };
  for (let turn = 1; turn <= 120; turn++) {
    const what = random.between(0, 9);
    if (what < 5) await change(turn);
    else if (what === 5) fake.endWatches(random.pick(["cleanly", "abruptly"]));
    else if (what === 6) fake.compact();
    else if (what === 7) failing = !failing;
    else if (what === 8) {
      fake.be(random.pick(["down", "silent"]));
      await sleep(random.between(0, 100));
      fake.be("up");
    } else await sleep(random.between(0, 30));
    const other = { metadata: { name: `other-${turn}` } };
    if (random.between(0, 3) === 0) await ask({ method: "POST", path: SECRETS, body: other });
  }
  failing = false;
  // The last one told, whatever was told before.
  await change(121);
  await until(() => seen.length > 0 && seen.at(-1) === now, `seed ${seed}: the last change`, 60_000);
  const turns = seen.filter((each) => each !== undefined);
  expect([seed, turns]).toEqual([seed, [...turns].sort((a, b) => a - b)]);
  end.abort();
  await over;
}, 120_000);

test("over TLS it shows the account's token, and again the one that took its place", async () => {
  const authority = new CertificateAuthority();
  atFileEnd(() => authority.remove());
  const fake = await FakeKubernetes.start({
    tls: authority.issue("localhost", "serverAuth"),
    token: "secret",
  });
  atFileEnd(() => fake.close());
  const call = (files: Parameters<typeof accountFolder>[0]) => {
    const api = apiOf({ url: fake.url, account: accountFolder(files), namespace: "sandboxes" });
    return api.call({ method: "GET", path: SECRETS });
  };
  const ca = authority.certificate;
  expect(await call({ token: "secret\n", "ca.crt": ca })).toMatchObject({ items: [] });
  await expect(call({ token: "other", "ca.crt": ca })).rejects.toMatchObject({ status: 401 });
  await expect(call({ token: "secret" })).rejects.toThrow(/certificate/);
});

test("the keys of a Secret are a file of one line each, for nobody else to read, and none without it", async () => {
  const folder = temporaryFolder();
  const file = join(folder, "keys");
  const secret = new KeySecret(file);
  const of = (data: Record<string, string>) =>
    secretShape.parse({
      data: Object.fromEntries(
        Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString("base64")]),
      ),
    });
  const cases: [Parameters<KeySecret["use"]>[0], string][] = [
    [of({ keys: '{"id":"a"}\n{"id":"b"}' }), '{"id":"a"}\n{"id":"b"}\n'],
    [of({ bob: '{"id":"bob"}', ann: '{"id":"ann"}' }), '{"id":"ann"}\n{"id":"bob"}\n'],
    [undefined, ""],
    [secretShape.parse({}), ""],
  ];
  for (const [given, text] of cases) {
    await secret.use(given);
    expect(readFileSync(file, "utf8")).toBe(text);
    expect(keysIn(given)).toBe(text);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  }
  const { ino } = statSync(file);
  await secret.use(undefined);
  expect(statSync(file).ino).toBe(ino);
  unlinkSync(file);
  await secret.use(undefined);
  expect(readFileSync(file, "utf8")).toBe("");
  await secret.use(of({ keys: "a" }));
  await new KeySecret(file).clear();
  expect(readFileSync(file, "utf8")).toBe("");
});

test("the servers of a StatefulSet are all that it is to have, and those that it still has", () => {
  const set = (spec: object, status?: object) =>
    statefulSetShape.parse({
      metadata: { name: "servers", namespace: "boxes" },
      spec: { serviceName: "all", ...spec },
      ...(status && { status }),
    });
  const numbers = (spec: object, status?: object) =>
    addressesOf(set(spec, status), 5557).map(({ number }) => number);
  expect(addressesOf(set({ replicas: 1 }), 5557)).toEqual([
    {
      number: 0,
      url: "https://servers-0.all.boxes.svc:5557",
      serverName: "servers-0.all.boxes.svc",
    },
  ]);
  expect(numbers({})).toEqual([0]);
  expect(numbers({ replicas: 3 }, { replicas: 1 })).toEqual([0, 1, 2]);
  expect(numbers({ replicas: 1 }, { replicas: 3 })).toEqual([0, 1, 2]);
  expect(numbers({ replicas: 2, ordinals: { start: 5 } })).toEqual([5, 6]);
  expect(numbers({ replicas: 0 })).toEqual([]);
  expect(() => numbers({ serviceName: "" })).toThrow(/serviceName/);
  expect(() => numbers({ replicas: 2, ordinals: { start: 65_535 } })).toThrow(/65535/);
});
