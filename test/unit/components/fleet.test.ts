import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { deployHosts, stackOutputs } from "../../../components/fleet";
import { checkSettings } from "../../../components/settings/checks";
import { namingHost, VisibleError } from "../../../components/settings/visible-error";
import { healthyHost, type Registered, registered } from "../../harness/pulumi-mocks";

const deploy = (raw: Record<string, unknown>, host = healthyHost) =>
  registered(() => deployHosts("microsandbox", checkSettings(raw).hosts ?? {}), host);
const urns = (resources: Registered[]) => resources.map(({ type, name }) => `${type} ${name}`).sort();
const ofDocker = (resources: Registered[]) =>
  resources.filter(({ type }) => type.startsWith("docker:")).map(({ inputs }) => inputs.name);

describe("names", () => {
  it("of the host `default` are those of a stack with one host, here and on the host", async () => {
    const single = await deploy({});
    const several = await deploy({ hosts: { default: {}, b: { host: "ssh://root@b.test" } } });
    expect(urns(several)).toEqual(expect.arrayContaining(urns(single)));
    expect(ofDocker(several)).toEqual(expect.arrayContaining(ofDocker(single)));
  });

  it("of one host stay when others come and go", async () => {
    const b = { host: "ssh://root@b.test" };
    const before = await deploy({
      hosts: { b: { ...b, allowRemoval: true }, c: { host: "ssh://root@c.test" } },
    });
    const after = await deploy({ hosts: { a: { host: "ssh://root@a.test", allowRemoval: true }, b } });
    const mine = (resources: Registered[]) =>
      urns(resources).filter((urn) => / microsandbox-b(-|$)/.test(urn));
    expect(mine(before).length).toBeGreaterThan(10);
    expect(mine(after)).toEqual(mine(before));
  });

  it("are different on every host", async () => {
    const names = ofDocker(
      await deploy({ hosts: { a: {}, b: { hostPort: 6000 }, default: { hostPort: 6001 } } }),
    );
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("microsandbox-b-dev-server");
    expect(names).toContain("microsandbox-dev-server");
  });
});

describe("outputs", () => {
  const outputsOf = (raw: Record<string, unknown>) => {
    let keys: string[] = [];
    return registered(() => {
      keys = Object.keys(stackOutputs(deployHosts("microsandbox", checkSettings(raw).hosts ?? {})));
    }).then(() => keys.sort());
  };
  const single = [
    "apiKey",
    "authority",
    "caCertificate",
    "endpoint",
    "environment",
    "guestKernel",
    "kvm",
    "server",
  ];

  it("of a stack with one host stay as they are", async () => {
    expect(await outputsOf({})).toEqual(single);
  });
  it("of several hosts are maps", async () => {
    const hosts = { a: { allowRemoval: true }, b: { hostPort: 6000 } };
    expect(await outputsOf({ hosts })).toEqual(["apiKeys", "endpoints", "hosts"]);
  });
  it("have a key that is secret, or that there is none", async () => {
    const secret: Record<string, Promise<boolean>> = {};
    const hosts = { dev: {}, made: { devMode: false }, given: { devMode: false, apiKey: "k".repeat(40) } };
    for (const [name, raw] of Object.entries(hosts))
      await registered(() => {
        const { apiKey } = stackOutputs(deployHosts("microsandbox", checkSettings(raw).hosts ?? {}));
        secret[name] = pulumi.isSecret(pulumi.output(apiKey));
      });
    expect(await Promise.all(Object.values(secret))).toEqual([false, true, true]);
  });
  it("of a map with one host are both", async () => {
    expect(await outputsOf({ hosts: { a: { allowRemoval: true } } })).toEqual(
      [...single, "apiKeys", "endpoints", "hosts"].sort(),
    );
  });
});

describe("an error of one host", () => {
  const fail = (message: string) => () => {
    throw new VisibleError(message);
  };
  it("names it, and its lines to type set that host's setting", () => {
    const check = fail("Port taken.\n  fix: pulumi config set microsandbox:hostPort 6000");
    expect(() => namingHost("b", check)).toThrow(
      "Host b: Port taken.\n  fix: pulumi config set --path microsandbox:hosts.b.hostPort 6000",
    );
    expect(() => namingHost(undefined, check)).toThrow(
      /^Port taken\.[\s\S]*config set microsandbox:hostPort 6000/,
    );
  });

  it("keeps its words while Pulumi puts the names of properties before them", () => {
    const error = new VisibleError("Port taken.");
    error.message = `error serializing property "image": ${error.message}`;
    expect(error.message).toBe("Port taken.");
    expect(error.stack).toBe("Port taken.");
  });
});
