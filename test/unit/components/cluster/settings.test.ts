import fc from "fast-check";
import { expect, test } from "vitest";
import { checkSettings } from "../../../../components/settings/checks";
import { settingsTable } from "../../../../docs/settings-table";
import { deploy } from "./deploy";

const given = {
  cluster: { servers: 2 },
  serverImage: `registry.test/server@sha256:${"a".repeat(64)}`,
  tls: { generate: true },
  apiKey: "k".repeat(40),
};

/** The settings of a cluster with another value of one, by its path. */
function withSetting(path: string, text: string): Record<string, unknown> {
  const raw: Record<string, unknown> = structuredClone(given);
  const [key = "", field] = path.split(".");
  if (field === undefined) return { ...raw, [key]: text };
  const value: unknown = /^[[{]|^\d+$|^(true|false)$/.test(text) ? JSON.parse(text) : text;
  return { ...raw, [key]: { ...(raw[key] as object | undefined), [field]: value } };
}

/** Settings that decide whether others are accepted, hold on a cluster in any case, or are set already. */
const NO_EFFECT = [
  ...["production", "exposeHttp", "generateApiKey", "devMode", "privileged"],
  ...["cluster", "volumes", "limits", "tls", "tls.generate"],
];
/** Settings that need others beside them. */
const TOGETHER: Record<string, Record<string, unknown>> = {
  "cluster.nodePort": { cluster: { servers: 3, service: "NodePort", nodePort: 30555 } },
  // Its image is built here.
  "cluster.emulated": { serverImage: undefined },
  isolateByKey: { isolateByKey: true, keys: [{ id: "ci", hash: `sha256:${"0".repeat(64)}` }] },
};

test("each setting gets to what is deployed, or is refused", async () => {
  const before = JSON.stringify(await deploy(given));
  const rows = settingsTable().filter(
    ({ key, example }) => !NO_EFFECT.includes(key) && !example.includes("…"),
  );
  expect(rows.length).toBeGreaterThan(60);
  const lost: string[] = [];
  for (const { key, example } of rows) {
    const raw = { ...withSetting(key, example), ...TOGETHER[key] };
    const { errors } = checkSettings(raw);
    if (errors.some((error) => error.key.startsWith(key) || key.startsWith(error.key))) continue;
    expect([key, errors]).toEqual([key, []]);
    if (JSON.stringify(await deploy(raw)) === before) lost.push(key);
  }
  expect(lost).toEqual([]);
}, 240_000);

test("a cluster without an image, without TLS, or with a host is refused, with what to type", () => {
  const faults = fc.subarray(["image", "tls", "host", "port", "volume", "dev"] as const, { minLength: 1 });
  const broken = {
    image: { serverImage: undefined },
    tls: { tls: {} },
    host: { host: "ssh://root@host.test" },
    port: { cluster: { servers: 3, nodePort: 30_000 } },
    volume: { volumes: { state: "other" } },
    dev: { devMode: true },
  };
  const keys = {
    ...{ image: "serverImage", tls: "tls", host: "host", port: "cluster.nodePort" },
    ...{ volume: "volumes.state", dev: "devMode" },
  };
  fc.assert(
    fc.property(faults, (all) => {
      const raw = Object.assign({ ...given }, ...all.map((fault) => broken[fault]));
      const { errors } = checkSettings(raw);
      expect(errors.map(({ key }) => key).sort()).toEqual(all.map((fault) => keys[fault]).sort());
      for (const { fix } of errors) expect(fix).toHaveLength(1);
    }),
  );
});

test("an emulated cluster takes the settings of its nodes, and none that it chooses by itself", () => {
  const { serverImage, ...emulated } = { ...given, cluster: { servers: 2, emulated: { nodes: 2 } } };
  const own = { emulatedMemory: "8G", emulatedDisk: "40G", bindAddress: "127.0.0.1", hostPort: 5556 };
  expect(checkSettings({ ...emulated, ...own, tls: {} }).errors).toEqual([]);
  const chosen = { kubeconfig: "/k", context: "c", service: "LoadBalancer", nodePort: 30_000, kvmGroup: 36 };
  fc.assert(
    fc.property(fc.subarray(Object.entries(chosen)), fc.boolean(), (fields, hasImage) => {
      const cluster = { ...emulated.cluster, ...Object.fromEntries(fields) };
      const { errors } = checkSettings({ ...emulated, cluster, ...(hasImage ? { serverImage } : {}) });
      const wrong = [...fields.map(([field]) => `cluster.${field}`), ...(hasImage ? ["serverImage"] : [])];
      expect(errors.map(({ key }) => key).sort()).toEqual(wrong.sort());
    }),
  );
  // Other machines could read what is sent.
  const open = checkSettings({ ...emulated, bindAddress: "0.0.0.0", tls: {} });
  expect(open.errors.map(({ key }) => key)).toEqual(["bindAddress"]);
});
