import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { clientEnvironment, Microsandbox } from "../../../components/microsandbox";
import { endpointUrl } from "../../../components/settings/endpoint";
import { parseSettings } from "../../../components/settings/parse-settings";
import { healthyHost, registered } from "../../harness/pulumi-mocks";
import { build, container, deploy, only } from "./deployed";

/** The production stack's own file. */
const productionFile = parse(readFileSync(join(__dirname, "../../../Pulumi.prod.yaml"), "utf8"));

it("the production stack's settings are accepted, and are the hardened ones", () => {
  const raw = Object.fromEntries(
    Object.entries(productionFile.config).map(([key, value]) => [key.replace("microsandbox:", ""), value]),
  );
  const settings = parseSettings(raw);
  expect(settings).toMatchObject({ production: true, privileged: false, devMode: false, kvmCheck: "boot" });
  expect(settings.volumes).toMatchObject({ keep: true, protect: true });
});

describe("what the host is like", () => {
  const on = (change: object) => ({ ...healthyHost, preflight: { ...healthyHost.preflight, ...change } });

  it("8: the network's packets are as small as those of the engine's default network", async () => {
    expect(only(await deploy({}, on({ mtu: 1400 })), "Network").options).toEqual({
      "com.docker.network.driver.mtu": "1400",
    });
    expect(only(await deploy({}), "Network").options).toEqual({});
  });

  it("22: a limit of swap is asked for where the kernel has one", async () => {
    const args = { memoryLimit: "2G" };
    expect(container(await deploy(args, on({ swapLimit: false }))).memorySwap).toBe(-1);
    expect(container(await deploy(args)).memorySwap).toBe(2048);
  });

  it("gives the container TUN only where there is one", async () => {
    const paths = async (tun: boolean) => {
      const host = { ...healthyHost, preflight: { ...healthyHost.preflight, tun } };
      return container(await deploy({}, host)).devices.map(({ hostPath }: { hostPath: string }) => hostPath);
    };
    expect(await paths(true)).toEqual(["/dev/kvm", "/dev/net/tun"]);
    expect(await paths(false)).toEqual(["/dev/kvm"]);
  });

  it("B17: keeps guests from the host's public addresses; others need no other container", async () => {
    const at = (...addresses: string[]) =>
      deploy({}, { ...healthyHost, preflight: { ...healthyHost.preflight, addresses } });
    const before = await at("127.0.0.1", "203.0.113.9", "172.17.0.1", "203.0.113.9");
    const after = await at("127.0.0.1", "203.0.113.10", "172.17.0.1");
    expect(container(after)).toEqual(container(before));
    expect(only(before, "Command", "pids-limit").stdin).toContain('\n["203.0.113.9/32"]\n');
    expect(only(after, "Command", "pids-limit").stdin).toContain('\n["203.0.113.10/32"]\n');
  });

  it("builds for the processor that the engine runs on", async () => {
    const engine = { version: "28.0.0", api: "1.48", arch: "arm64", os: "linux", cgroup: "v2" };
    const host = { ...healthyHost, preflight: { ...healthyHost.preflight, engine } };
    expect(build(await deploy({}, host)).platform).toBe("linux/arm64");
  });
});
describe("several services in one program", () => {
  it("have names of their own", async () => {
    const resources = await registered(() => {
      new Microsandbox("one", { hostPort: 5001 });
      new Microsandbox("two", { hostPort: 5002 });
    });
    const names = resources.filter(({ type }) => type.startsWith("docker:")).map(({ inputs }) => inputs.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("microsandbox-one-dev-server");
    expect(names).toContain("microsandbox-two-dev-state");
  });
});

describe("endpointUrl", () => {
  const none = "none";
  it.each([
    ["loopback here", "local", "127.0.0.1", none, "http://127.0.0.1:5555"],
    ["any address here", "local", "0.0.0.0", none, "http://127.0.0.1:5555"],
    ["any address there", "ssh://me@host.test", "0.0.0.0", none, "http://host.test:5555"],
    ["a named address there", "ssh://me@host.test", "10.1.2.3", none, "http://10.1.2.3:5555"],
    ["IPv6", "local", "::1", none, "http://[::1]:5555"],
    ["emulated", "emulated", "127.0.0.1", none, "http://127.0.0.1:5555"],
    ["a certificate of our own", "local", "127.0.0.1", "generated", "https://127.0.0.1:5555"],
    ["a given certificate", "local", "127.0.0.1", "given", "https://sandboxes.test:5555"],
  ] as const)("%s", (_name, host, bindAddress, tls, expected) => {
    expect(endpointUrl({ host, bindAddress, hostPort: 5555 }, tls, ["sandboxes.test"])).toBe(expected);
  });
});

it("gives clients a key to send in dev mode only", () => {
  expect(clientEnvironment("http://a", true)).toHaveProperty("MSB_API_KEY");
  expect(clientEnvironment("http://a", false)).not.toHaveProperty("MSB_API_KEY");
});
