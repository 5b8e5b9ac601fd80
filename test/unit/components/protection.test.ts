import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../components/args";
import { Microsandbox } from "../../../components/microsandbox";
import { type Registered, registered } from "../../harness/pulumi-mocks";

const named = (urn: string) => urn.split("::").at(-1) ?? "";

/** Names of all that a destroy skips where it may not remove this resource: what it depends on, as the engine finds it. */
function keptBy(last: Registered, all: Registered[]): Set<string> {
  const kept = new Set<string>();
  const add = ({ dependencies, provider = "" }: Registered) => {
    for (const urn of [...dependencies, provider.split("::").slice(0, -1).join("::")]) {
      const name = named(urn);
      if (kept.has(name)) continue;
      kept.add(name);
      for (const each of all.filter((resource) => resource.name === name)) add(each);
    }
  };
  add(last);
  return kept;
}
const custom = ({ type }: Registered) => !type.startsWith("microsandbox:") && type !== "pulumi:pulumi:Stack";

const services: [string, MicrosandboxArgs][] = [
  ["the default", {}],
  [
    "a made key, an authority, a boot check, images and registries",
    {
      ...{ devMode: false, tls: { generate: true }, kvmCheck: "boot", images: ["alpine:3.22"] },
      registries: { mirrors: { "docker.io": "mirror.test/" } },
    },
  ],
  ["another host, unprivileged", { host: "ssh://root@a.test", privileged: false, kvmCheck: "off" }],
  ["another host, through a registry", { host: "ssh://root@a.test", registry: "registry.test/team" }],
  ["an emulated host", { host: "emulated" }],
];

describe("a destroy comes first to a resource that depends on all others", () => {
  it.each(services)("%s", async (_what, args) => {
    for (const protect of [true, false]) {
      const all = await registered(() => new Microsandbox("boxes", { ...args, volumes: { protect } }));
      const last = all.find(({ name }) => name === "boxes-protection-last");
      if (!last) throw new Error("there is none");
      expect(last.protect).toBe(protect);
      const kept = keptBy(last, all);
      const others = all.filter((each) => custom(each) && each !== last).map(({ name }) => name);
      expect(others.length).toBeGreaterThan(8);
      expect(others.filter((name) => !kept.has(name))).toEqual([]);
    }
  });
});
