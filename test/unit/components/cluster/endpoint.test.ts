import fc from "fast-check";
import { expect, test } from "vitest";
import { deployCluster } from "../../../../components/cluster-stack";
import { checkSettings } from "../../../../components/settings/checks";
import { explainErrors } from "../../../../components/settings/setting-errors";
import { testAuthority } from "../../../harness/authority";
import { healthyCluster, healthyHost, registered } from "../../../harness/pulumi-mocks";

const serverImage = `registry.test/server@sha256:${"a".repeat(64)}`;
const real = { cluster: { servers: 1, namespace: "sandboxes" }, serverImage };
const emulated = { cluster: { servers: 1, emulated: { nodes: 1 } }, hostPort: 5600, tls: { generate: true } };
type Address = { type: string; address: string };

/** The host and port of the endpoint, and what the certificate is for. */
async function shown(raw: Record<string, unknown>, addresses: Address[][] = []) {
  const { settings, errors } = checkSettings({ apiKey: "k".repeat(40), ...raw });
  if (settings === undefined) throw new Error(explainErrors(errors));
  const [node] = healthyCluster.nodes;
  const nodes = addresses.map((all, at) => ({ ...node, name: `n${at}`, addresses: [all] }));
  const cluster = { ...healthyCluster, ...(nodes.length > 0 ? { nodes } : {}) };
  const all = await registered(() => deployCluster("microsandbox", settings), { ...healthyHost, cluster });
  const endpoint = String(all.find(({ type }) => type.endsWith(":SandboxCluster"))?.outputs?.endpoint);
  const { stdin } = all.find(({ name }) => name.endsWith("-tls-certificate"))?.inputs ?? {};
  const [, names = ""] = /NAMES='?([^'\n]*)/.exec(stdin?.value ?? "") ?? [];
  return { endpoint: endpoint.replace(/^https:\/\//, ""), names: names.split(",") };
}

const ofNodes: [string, Address[][], string][] = [
  ["none", [[]], "NODE"],
  [
    "inside",
    [
      [
        { type: "Hostname", address: "n0" },
        { type: "InternalIP", address: "10.0.0.1" },
      ],
    ],
    "10.0.0.1",
  ],
  [
    "outside",
    [[{ type: "InternalIP", address: "10.0.0.1" }], [{ type: "ExternalIP", address: "203.0.113.9" }]],
    "203.0.113.9",
  ],
  ["of IPv6", [[{ type: "InternalIP", address: "fd00::7" }]], "[fd00::7]"],
];

test.each(ofNodes)(
  "a node port is at an address of a node, if there is one: %s",
  async (_, addresses, host) => {
    const cluster = { ...real.cluster, service: "NodePort", nodePort: 30_555 };
    const { endpoint, names } = await shown({ ...real, cluster, tls: { generate: true } }, addresses);
    expect(endpoint).toBe(`${host}:30555`);
    if (host !== "NODE") expect(names).toContain(`IP:${host.replace(/[[\]]/g, "")}`);
  },
);

test("what clients are told is what the certificate is for, however they reach the routers", async () => {
  const kinds = fc.constantFrom("ClusterIP", "NodePort", "LoadBalancer");
  const named = fc.subarray(["sandboxes.example.com", "192.0.2.7"]);
  await fc.assert(
    fc.asyncProperty(kinds, named, async (service, names) => {
      const cluster = { ...real.cluster, service };
      const { endpoint, names: good } = await shown({ ...real, cluster, tls: { generate: true, names } });
      const [host = ""] = endpoint.split(":");
      expect(good.map((each) => each.replace(/^(IP|DNS):/, ""))).toContain(host);
      if (names.length > 0) expect(host).toBe(names[0]);
      else if (service === "LoadBalancer") expect(host).toBe("203.0.113.7");
    }),
    { numRuns: 12 },
  );
  const { endpoint, names } = await shown({ ...emulated, bindAddress: "192.0.2.5" });
  expect(endpoint).toBe("192.0.2.5:5600");
  expect(names).toContain("IP:192.0.2.5");
});

test("a certificate of the user's need not be for this machine, unless it is where the cluster is", () => {
  const pem = testAuthority().issue(["sandboxes.example.com"]);
  const at = pem.indexOf("-----BEGIN CERTIFICATE");
  const tls = { certificate: pem.slice(at), key: pem.slice(0, at) };
  const wrong = (raw: object) =>
    checkSettings({ apiKey: "k".repeat(40), ...raw }).errors.map(({ key }) => key);
  expect(wrong({ ...real, tls })).toEqual([]);
  expect(wrong({ ...real, tls: { ...tls, names: ["other.example.com"] } })).toEqual(["tls"]);
  expect(wrong({ ...emulated, tls })).toEqual(["tls"]);
});
