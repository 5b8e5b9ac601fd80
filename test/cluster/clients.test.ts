import { randomUUID } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { serverOf } from "../../docker/gateway/src/sandboxes/ids";
import { applyObjects } from "../harness/apply-objects";
import { CertificateAuthority } from "../harness/certificates";
import { bundleGateway, createBody } from "../harness/gateway";
import { hashOf } from "../harness/key-file";
import { loopback, PodProcesses } from "../harness/pod-processes";
import { removeFolder } from "../harness/remove-folder";
import { TestCluster } from "../harness/test-cluster";
import { deploy } from "../unit/components/cluster/deploy";

const SPACE = "/api/v1/namespaces/clients";
const SET = "/apis/apps/v1/namespaces/clients/statefulsets/servers";
const settings = {
  cluster: { servers: 3, namespace: "clients" },
  serverImage: `registry.test/server@sha256:${"a".repeat(64)}`,
  ...{ tls: { generate: true }, isolateByKey: true, stopTimeout: 5 },
};
const key = `msb_${"k".repeat(64)}`;
const line = (id: string, of: string) => JSON.stringify({ id, hash: `sha256:${hashOf(of)}` });
const folder = mkdtempSync(join(tmpdir(), "cluster-clients-"));
const authority = new CertificateAuthority();
let cluster: TestCluster;
let processes: PodProcesses | undefined;

// The stack's objects, without Pulumi's plugin; certificates and keys are the test's.
beforeAll(async () => {
  const script = join(folder, "gateway.cjs");
  await bundleGateway(script);
  const nodes = ["a", "b", "c"].map((name) => ({ name, kvm: true }));
  const runPods = (plane: TestCluster["plane"]) => {
    processes = new PodProcesses(plane, script);
    return processes.run;
  };
  cluster = await TestCluster.start(nodes, { runPods });
  const pem = (name: string, usage: string) => Object.values(authority.issue(name, usage)).join("");
  const secrets = {
    keys: { keys: line("default", key) },
    "tls-certificate": { "tls.pem": pem("localhost", "serverAuth") },
    "peer-certificate": {
      "tls.pem": pem("*.servers.clients.svc", "serverAuth,clientAuth"),
      "ca.pem": authority.certificate,
    },
  };
  await applyObjects(cluster.plane, await deploy(settings), secrets);
}, 60 * 60_000);
afterAll(async () => {
  await cluster?.stop();
  await processes?.remove();
  authority.remove();
  await removeFolder(folder);
});

interface ApiPod {
  metadata: { name: string };
  status: { podIP: string; conditions: { type: string; status: string }[] };
}
const isReady = ({ status }: ApiPod) =>
  status.conditions?.some(({ type, status: holds }) => type === "Ready" && holds === "True");
const podsOf = async (part: string): Promise<ApiPod[]> => {
  const path = `${SPACE}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3D${part}`;
  return (await cluster.plane.request("GET", path)).body.items;
};
/** Addresses of the routers that clients are sent to. */
const routers = async () =>
  (await podsOf("router")).filter(isReady).map(({ status }) => loopback(status.podIP));

const readyServers = async () => (await podsOf("servers")).filter(isReady).length;

type Answer = { status: number; body: ReturnType<typeof JSON.parse> };
function ask(host: string, method: string, path: string, body?: object, with_ = key): Promise<Answer> {
  const headers = {
    authorization: `Bearer ${with_}`,
    "user-agent": "microsandbox-sdk/0.7.11",
    ...(body && { "content-type": "application/json" }),
  };
  return new Promise((resolve, reject) => {
    // The certificate is for the names of the service, and for localhost.
    const options = { host, port: 5555, servername: "localhost", ca: authority.certificate, agent: false };
    const asked = request({ ...options, method, path, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => {
        text += part;
      });
      answer.on("error", reject).on("end", () => {
        const isJson = answer.headers["content-type"]?.includes("json");
        resolve({ status: answer.statusCode ?? 0, body: isJson ? JSON.parse(text) : text });
      });
    });
    asked.on("error", reject).end(body && JSON.stringify(body));
  });
}
const create = (host: string, name: string) =>
  ask(host, "POST", "/v1/sandboxes?start=true&wait_for=running&wait_timeout=90", createBody(name));
const list = async (host: string): Promise<string[]> =>
  (await ask(host, "GET", "/v1/sandboxes?limit=100")).body.data.map(({ id }: { id: string }) => id).sort();

it("the pods get ready by themselves, and the routers know all servers", async () => {
  await expect.poll(async () => (await routers()).length, { timeout: 180_000 }).toBe(2);
  await expect.poll(readyServers, { timeout: 180_000 }).toBe(3);
  const all = ["server-0", "server-1", "server-2", "stateful-set", "keys"];
  for (const host of await routers()) {
    const checks = async () =>
      Object.entries<{ ok: boolean }>((await ask(host, "GET", "/readyz")).body.checks);
    const good = async () => (await checks()).filter(([, { ok }]) => ok).map(([name]) => name);
    await expect.poll(good, { timeout: 60_000 }).toEqual(expect.arrayContaining(all));
  }
});

it("names are unique through both routers, and sandboxes spread over the servers", async () => {
  const hosts = await routers();
  const attempts = Array.from({ length: 30 }, (_, at) => create(hosts[at % 2] ?? "", `box-${(at * 7) % 10}`));
  const answers = await Promise.all(attempts);
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
  expect(answers.filter(({ status }) => status === 409)).toHaveLength(20);
  const [one, other] = await Promise.all(hosts.map(list));
  expect(one).toHaveLength(10);
  expect(other).toEqual(one);
  expect(new Set(one?.map(serverOf))).toEqual(new Set([0, 1, 2]));
});

it("a key that is taken out of the Secret is refused by both routers within a second", async () => {
  const hosts = await routers();
  const secret = `${SPACE}/secrets/keys`;
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const made = randomUUID() + randomUUID();
    const statuses = () =>
      Promise.all(
        hosts.map(async (host) => (await ask(host, "GET", "/v1/sandboxes", undefined, made)).status),
      );
    await cluster.plane.request("PATCH", secret, {
      stringData: { [`key-${round}`]: line(`key-${round}`, made) },
    });
    await expect.poll(statuses, { timeout: 30_000, interval: 50 }).toEqual([200, 200]);
    const revoked = performance.now();
    await cluster.plane.request("PATCH", secret, { data: { [`key-${round}`]: null } });
    await expect.poll(statuses, { timeout: 30_000, interval: 20 }).toEqual([401, 401]);
    times.push(Math.round(performance.now() - revoked));
  }
  console.log(`milliseconds until a revoked key was refused by both routers: ${times.join(", ")}`);
});

it("a server that is scaled out joins, one whose pod has gone comes back with what it had", async () => {
  const [host = ""] = await routers();
  const before = await list(host);
  await cluster.plane.request("PATCH", SET, { spec: { replicas: 4 } });
  const joined = async () => (await ask(host, "GET", "/readyz")).body.checks["server-3"]?.ok;
  await expect.poll(joined, { timeout: 60_000 }).toBe(true);
  await cluster.plane.request("DELETE", `${SPACE}/pods/servers-0`);
  await expect.poll(readyServers, { timeout: 60_000 }).toBe(4);
  for (const id of before) {
    const status = async () => (await ask(host, "GET", `/v1/sandboxes/${id}`)).status;
    await expect.poll(status, { timeout: 30_000 }).toBe(200);
  }
  expect(await list(host)).toEqual(before);
});

it("what each server has is told, by which a deployment knows whether it can go", async () => {
  const [host = ""] = await routers();
  const counts = async () => {
    const selector = "labelSelector=microsandbox-stack%2Fcounts";
    const { items } = await cluster.in("clients", `coordination.k8s.io/v1/leases?${selector}`);
    return items
      .map(
        ({ metadata }: { metadata: { name: string; annotations: Record<string, string> } }) =>
          `${metadata.name} ${metadata.annotations["microsandbox-stack/sandboxes"]}`,
      )
      .sort();
  };
  const there = async (servers: number) => {
    const ids = await list(host);
    return Array.from({ length: servers }, (_, number) => {
      return `servers-${number} ${ids.filter((id) => serverOf(id) === number).length}`;
    });
  };
  await expect.poll(counts, { timeout: 30_000 }).toEqual(await there(4));
  const [id = ""] = await list(host);
  await ask(host, "POST", `/v1/sandboxes/${id}/stop`);
  expect((await ask(host, "DELETE", `/v1/sandboxes/${id}`)).status).toBe(200);
  await expect.poll(counts, { timeout: 30_000 }).toEqual(await there(4));
  await cluster.plane.request("PATCH", SET, { spec: { replicas: 3 } });
  await expect.poll(counts, { timeout: 60_000 }).toEqual(await there(3));
  expect(await list(host)).toHaveLength(9);
});
