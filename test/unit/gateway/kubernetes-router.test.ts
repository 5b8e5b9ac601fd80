import dns from "node:dns";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { idsOf, serverOf } from "../../../docker/gateway/src/sandboxes/ids";
import { CertificateAuthority } from "../../harness/certificates";
import { atFileEnd } from "../../harness/file-end";
import { hashOf } from "../../harness/key-file";
import { freePort } from "../../harness/stack";
import { TestGateway, temporaryFolder, until as untilWithin } from "./harness";
import { accountFolder, askerOf, fakeCluster } from "./kubernetes-world";
import { bearer } from "./with-keys";

const SETS = "/apis/apps/v1/namespaces/sandboxes/statefulsets";
const LEASES = "/apis/coordination.k8s.io/v1/namespaces/sandboxes/leases";
const SECRETS = "/api/v1/namespaces/sandboxes/secrets";
/** Answered by pods that are not there. */
const NOBODY = "127.0.0.99";

/** However busy this machine is. */
const until = (holds: () => boolean | Promise<boolean>, what: string) => untilWithin(holds, what, 60_000);

let cluster: Awaited<ReturnType<typeof fakeCluster>>;
let ask: ReturnType<typeof askerOf>;
let authority: CertificateAuthority;
let port: number;
const folder = temporaryFolder();

/** Where a pod of a StatefulSet is found: its ordinal says on which of this machine's addresses. */
function resolve(hostName: string): string | undefined {
  const ordinal = /^[a-z]+-(\d+)\.pods\.sandboxes\.svc$/.exec(hostName)?.[1];
  if (ordinal === undefined) return undefined;
  return Number(ordinal) < 5 ? `127.0.0.${10 + Number(ordinal)}` : NOBODY;
}

const lookup = dns.lookup;
beforeAll(async () => {
  const faked = (hostName: string, options: dns.LookupOptions, done: (...answer: unknown[]) => void) => {
    const address = resolve(hostName);
    if (!address) return lookup(hostName, options, done as never);
    process.nextTick(() => (options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4)));
  };
  vi.spyOn(dns, "lookup").mockImplementation(faked as unknown as typeof dns.lookup);
  cluster = await fakeCluster();
  ask = askerOf(cluster);
  authority = new CertificateAuthority();
  atFileEnd(() => authority.remove());
  port = await freePort();
});
afterAll(() => {
  vi.restoreAllMocks();
});

function peer(name: string, usage: string) {
  const { cert, key } = authority.issue(name, usage);
  const [file, ca] = [join(folder, `${name}.pem`), join(folder, "ca.pem")];
  writeFileSync(file, cert + key);
  writeFileSync(ca, authority.certificate);
  return { PEER_TLS_FILE: file, PEER_CA_FILE: ca };
}

/** The pod of a StatefulSet with that ordinal. */
const startPod = (set: string, number: number) =>
  TestGateway.start({
    ...{ SERVER_NUMBER: `${number}`, BACKEND_PORT: `${port}`, LISTEN_ADDRESS: `127.0.0.${10 + number}` },
    ...{ OWN_SANDBOXES: "true", ...peer(`${set}-${number}.pods.sandboxes.svc`, "serverAuth") },
  });

const startRouter = (set: string, env: Record<string, string> = {}) =>
  TestGateway.start({
    ...{ STATEFUL_SET: set, STATEFUL_SET_PORT: `${port}`, OWN_SANDBOXES: "true" },
    ...{ KUBERNETES_API: cluster.url, KUBERNETES_ACCOUNT: cluster.account },
    ...{ ...peer("router", "clientAuth"), ...env },
  });

const makeSet = (name: string, replicas: number) =>
  ask({
    ...{ method: "POST", path: SETS },
    body: { metadata: { name }, spec: { replicas, serviceName: "pods" }, status: { replicas } },
  });
const scale = (name: string, replicas: number, status = replicas) =>
  ask({
    ...{ method: "PATCH", path: `${SETS}/${name}` },
    body: { spec: { replicas }, status: { replicas: status } },
  });

const isReady = (router: TestGateway) => async () => (await router.get("/readyz")).status === 200;
const list = async (router: TestGateway): Promise<string[]> =>
  (await router.get("/v1/sandboxes?limit=100")).body.data.map(({ id }: { id: string }) => id).sort();

test("routers follow the StatefulSet as it grows and shrinks, and go on without the API", async () => {
  const { fake } = cluster;
  fake.be("down");
  const routers = [await startRouter("grow"), await startRouter("grow")] as const;
  const [router, other] = routers;
  expect((await router.get("/readyz")).body.checks["stateful-set"]).toMatchObject({ ok: false });
  await startPod("grow", 0);
  fake.be("up");
  await makeSet("grow", 1);
  for (const each of routers) await until(isReady(each), "the router to be ready");
  const first = (await router.create("first")).body.id;
  expect(serverOf(first)).toBe(0);
  expect((await other.create("first")).status).toBe(409);

  // One that does not come up yet takes nothing away.
  await scale("grow", 3);
  await until(async () => "server-2" in (await router.get("/readyz")).body.checks, "three servers");
  expect((await router.get("/readyz")).status).toBe(200);
  expect((await router.create("second")).status).toBe(200);
  expect((await router.get("/v1/sandboxes")).body.data).toHaveLength(2);
  expect((await router.get(`/v1/sandboxes/${idsOf(2)()}`)).status).toBe(503);
  expect((await router.get(`/v1/sandboxes/${idsOf(3)()}`)).status).toBe(404);

  const pods = [await startPod("grow", 1), await startPod("grow", 2)];
  const answers = async () =>
    Object.values((await router.get("/readyz")).body.checks).every((check) => (check as { ok: boolean }).ok);
  await until(answers, "all to be there");
  const told = () =>
    fake
      .all(LEASES)
      .flatMap(({ metadata: { name, annotations } }) =>
        /^grow-\d$/.test(name) ? [[name, annotations?.["microsandbox-stack/volumes"]].join(" ")] : [],
      );
  // By that a deployment knows that none of it is lost with a server.
  const volume = (await router.post("/v1/volumes", { name: "kept" })).body.id;
  const has = [0, 1, 2].map((number) => `grow-${number} ${number === serverOf(volume) ? 1 : 0}`);
  await until(() => isDeepStrictEqual(told().sort(), has), "what servers have to be told");
  const ids = [first];
  for (let at = 0; new Set(ids.map(serverOf)).size < 3 && at < 40; at++)
    ids.push((await router.create(`box-${at}`)).body.id);
  expect(new Set(ids.map(serverOf))).toEqual(new Set([0, 1, 2]));
  const everything = await list(router);
  await until(async () => (await list(other)).length === everything.length, "the other one to see all");

  // The API is away: names are, too, and nothing else.
  fake.be("down");
  const refused = await router.create("third");
  expect([refused.status, refused.body.error.message]).toEqual([
    503,
    expect.stringContaining("Kubernetes API"),
  ]);
  for (const each of routers) {
    expect(await list(each)).toEqual(everything);
    expect((await each.get("/readyz")).status).toBe(200);
  }
  for (const id of ids) expect((await router.get(`/v1/sandboxes/${id}`)).status).toBe(200);
  expect((await router.post(`/v1/sandboxes/${first}/stop`)).status).toBe(200);
  expect((await router.delete(`/v1/sandboxes/${first}`)).status).toBe(200);

  // So is a server: what it has is listed as it was last known, and it stays one of them.
  await pods[1]?.gateway.stop();
  fake.be("up");
  await until(async () => (await router.create("third")).status === 200, "names to be had");
  const left = everything.filter((id) => id !== first);
  expect(await list(router)).toEqual(expect.arrayContaining(left));

  // It goes for good: nobody knows its sandboxes any more, once its pod has gone.
  await scale("grow", 2, 3);
  await sleep(300);
  expect(await list(router)).toEqual(expect.arrayContaining(left));
  await scale("grow", 2);
  const kept = left.filter((id) => serverOf(id) !== 2);
  const gone = left.filter((id) => serverOf(id) === 2);
  await until(async () => !(await list(router)).some((id) => gone.includes(id)), "its sandboxes to go");
  expect(await list(router)).toEqual(expect.arrayContaining(kept));

  // A StatefulSet that is made anew has the same pods meanwhile.
  await ask({ method: "DELETE", path: `${SETS}/grow` });
  await sleep(300);
  for (const each of routers) expect(await list(each)).toEqual(expect.arrayContaining(kept));
}, 300_000);

const lineOf = (key: string) =>
  Buffer.from(JSON.stringify({ id: key, hash: `sha256:${hashOf(key)}` })).toString("base64");
const writeKeys = (name: string, keys: Record<string, string | null>) =>
  ask({
    ...{ method: "PATCH", path: `${SECRETS}/${name}` },
    body: {
      data: Object.fromEntries(Object.entries(keys).map(([key, value]) => [key, value && lineOf(key)])),
    },
  });

test("keys are those of a Secret: none before it was read, and none that is not in it", async () => {
  const { fake } = cluster;
  await startPod("keys", 3);
  await ask({
    ...{ method: "POST", path: SETS },
    body: { metadata: { name: "keys" }, spec: { replicas: 1, serviceName: "pods", ordinals: { start: 3 } } },
  });
  fake.be("down");
  const router = async () => {
    const API_KEYS_FILE = join(temporaryFolder(), "keys");
    // What an earlier process knew does not count.
    writeFileSync(API_KEYS_FILE, Buffer.from(lineOf("ann"), "base64"));
    return startRouter("keys", { API_KEYS_FILE, KEYS_SECRET: "keys", DEV_MODE: "false" });
  };
  const routers = await Promise.all([router(), router()]);
  const statuses = (key: string) =>
    Promise.all(routers.map(async (each) => (await each.get("/v1/sandboxes", bearer(key))).status));
  const isTaken = async (key: string) => (await statuses(key)).every((each) => each === 200);
  // An address that has shown it too often is told to wait.
  const isRefused = async (key: string) =>
    (await statuses(key)).every((each) => each === 401 || each === 429);
  for (const each of routers) {
    expect((await each.get("/v1/sandboxes", bearer("ann"))).status).toBe(401);
    expect((await each.get("/readyz")).status).toBe(503);
  }
  fake.be("up");
  await sleep(300);
  for (const each of routers) expect((await each.get("/readyz")).status).toBe(503);
  await ask({
    method: "POST",
    path: SECRETS,
    body: { metadata: { name: "keys" }, data: { ann: lineOf("ann") } },
  });
  for (const each of routers) await until(isReady(each), "the router to be ready");
  await until(() => isTaken("ann"), "the key to be taken");

  const lost: (() => void)[] = [
    () => undefined,
    () => fake.endWatches("cleanly"),
    () => fake.endWatches("abruptly"),
    () => {
      fake.compact();
      fake.endWatches("cleanly");
    },
    () => {
      fake.be("down");
      fake.be("up");
    },
  ];
  for (const [at, lose] of lost.entries()) {
    await writeKeys("keys", { [`key-${at}`]: "" });
    lose();
    await writeKeys("keys", { [`bob-${at}`]: "new", ann: "new" });
    await until(() => isTaken(`bob-${at}`), `the new key after ${at}`);
    await writeKeys("keys", { [`bob-${at}`]: null });
    await until(() => isRefused(`bob-${at}`), `the key to be refused after ${at}`);
    expect(await statuses("ann")).toEqual([200, 200]);
  }
  fake.be("silent");
  await sleep(700);
  expect(await statuses("ann")).toEqual([200, 200]);
  fake.be("up");
  await ask({ method: "DELETE", path: `${SECRETS}/keys` });
  await until(() => isRefused("ann"), "no key to be taken");
}, 300_000);

test("what does not go together is refused at the start, with the setting", async () => {
  const set = { STATEFUL_SET: "servers", STATEFUL_SET_PORT: "5557", ...peer("router", "clientAuth") };
  const SERVERS = JSON.stringify([{ number: 0, url: "https://127.0.0.1:1" }]);
  const { PEER_TLS_FILE: _tls, PEER_CA_FILE: _ca, ...plain } = set;
  const { STATEFUL_SET_PORT: _port, ...portless } = set;
  const keys = { KEYS_SECRET: "keys", API_KEYS_FILE: "/proc/nowhere/keys", DEV_MODE: "false" };
  const wrong: [Record<string, string>, RegExp][] = [
    [{ ...set, SERVERS }, /^SERVERS and STATEFUL_SET/],
    [portless, /^STATEFUL_SET: .*STATEFUL_SET_PORT/],
    [plain, /^STATEFUL_SET: .*PEER_TLS_FILE/],
    [{ STATEFUL_SET_PORT: "5557" }, /^STATEFUL_SET_PORT: /],
    [{ ...keys, SERVERS }, /^KEYS_SECRET: .*STATEFUL_SET/],
    [{ ...set, KEYS_SECRET: "keys", DEV_MODE: "false" }, /^KEYS_SECRET: .*API_KEYS_FILE/],
    [{ ...set, ...keys, DEV_MODE: "true" }, /^KEYS_SECRET and DEV_MODE/],
    [{ ...set, BACKEND_PORT: "5557" }, /^BACKEND_PORT and STATEFUL_SET/],
    [{ ...set, STATEFUL_SET: "Servers_1" }, /STATEFUL_SET="Servers_1"/],
    [{ ...set, KUBERNETES_API: "ftp://x" }, /KUBERNETES_API/],
    [{ ...set, KUBERNETES_ACCOUNT: "/nowhere" }, /^STATEFUL_SET: \/nowhere\/namespace/],
    [{ ...set, ...keys, KUBERNETES_ACCOUNT: accountFolder() }, /^KEYS_SECRET: API_KEYS_FILE/],
  ];
  for (const [env, says] of wrong) await expect(TestGateway.start(env)).rejects.toThrow(says);
});
