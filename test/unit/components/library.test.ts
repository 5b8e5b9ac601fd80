import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { afterAll, describe, expect, it, vi } from "vitest";
import { emulatedHostTool } from "../../../components/host/emulated-host";
import { packageRoot } from "../../../components/host/scripts";
import { Microsandbox } from "../../../components/microsandbox";
import { givenPem } from "../../../components/settings/given-certificate";
import { type Registered, registered } from "../../harness/pulumi-mocks";

const only = (resources: Registered[], type: string, end = ""): Registered => {
  const found = resources.filter((each) => each.type.endsWith(`:${type}`) && each.name.endsWith(end));
  expect(found.map(({ name }) => name)).toHaveLength(1);
  return found[0] as Registered;
};

describe("options of a component", () => {
  it.each<[string, (engine: docker.Provider) => pulumi.ComponentResourceOptions]>([
    ["provider", (engine) => ({ provider: engine })],
    ["providers", (engine) => ({ providers: { docker: engine } })],
  ])("%s: makes what is on the host", async (_name, opts) => {
    const resources = await registered(() => {
      const engine = new docker.Provider("mine", { host: "ssh://root@host.test" });
      new Microsandbox("sandboxes", { host: "ssh://root@host.test" }, opts(engine));
    });
    for (const type of ["Container", "Network"]) expect(only(resources, type).provider).toMatch(/::mine::/);
    const volumes = resources.filter(({ type }) => type.endsWith(":Volume"));
    expect(volumes.map(({ provider }) => provider)).toEqual([
      expect.stringMatching(/::mine::/),
      expect.stringMatching(/::mine::/),
    ]);
    expect(only(resources, "RemoteImage").provider).toMatch(/-host-builder::/);
  });

  it("transform: changes container, network and volumes", async () => {
    const resources = await registered(
      () =>
        new Microsandbox(
          "sandboxes",
          {},
          {
            transform: {
              container: (args) => ({
                ...args,
                dns: ["10.0.0.2"],
                hostname: pulumi.interpolate`${args.hostname}-2`,
              }),
              network: { ipv6: true },
              volumes: { driver: "zfs" },
            },
          },
        ),
    );
    expect(only(resources, "Container").inputs).toMatchObject({
      dns: ["10.0.0.2"],
      restart: "unless-stopped",
    });
    expect(only(resources, "Container").inputs.hostname).toBe("microsandbox-sandboxes-dev-2");
    expect(only(resources, "Network").inputs).toMatchObject({ ipv6: true, driver: "bridge" });
    for (const { inputs } of resources.filter(({ type }) => type.endsWith(":Volume")))
      expect(inputs.driver).toBe("zfs");
  });
});

describe("what a transform leaves as it is", () => {
  type Transforms = NonNullable<ConstructorParameters<typeof Microsandbox>[2]>["transform"];
  const run = (transform?: Transforms) => registered(() => new Microsandbox("sandboxes", {}, { transform }));
  const label = { label: "team", value: "a" };
  const stolen = { label: "io.microsandbox.stack", value: "other" };
  const extra = { hostPath: "/etc/hosts", containerPath: "/hosts", readOnly: true };
  const instead = { volumeName: "other", containerPath: "/workspace" };
  const inPlace: Transforms = {
    container: { name: "other", image: "other", labels: [label, stolen], volumes: [extra, instead] },
    network: { name: "other", labels: [label] },
    volumes: { name: "other", labels: [label] },
  };
  const byFunction: Transforms = {
    container: (args) => Object.assign(args, inPlace.container),
    network: (args) => ({ ...args, ...inPlace.network }),
    volumes: (args) => ({ ...args, ...inPlace.volumes }),
  };

  it.each([
    ["fields in place", inPlace],
    ["a function", byFunction],
  ])("names, the image, labels and mounts of ours, given %s", async (_how, transform) => {
    const [plain, changed] = [await run(), await run(transform)];
    const made = plain.filter(({ type }) => /:(Container|Network|Volume)$/.test(type));
    expect(made).toHaveLength(4);
    for (const { name, inputs } of made) {
      const other = changed.find((each) => each.name === name)?.inputs;
      expect([other?.name, other?.image]).toEqual([inputs.name, inputs.image]);
      expect(other?.labels).toEqual([...inputs.labels, label]);
      expect(other?.volumes).toEqual(inputs.volumes && [...inputs.volumes, extra]);
    }
  });

  it("an upgrade's trial is started with the changes too", async () => {
    const runFlags = async (transform?: Transforms) =>
      /RUN_FLAGS=(.*)/.exec(only(await run(transform), "Command", "-upgrade-trial").inputs.stdin)?.[1] ?? "";
    const container = {
      dns: ["10.0.0.2"],
      hosts: [{ host: "registry.test", ip: "10.0.0.3" }],
      networksAdvanced: [{ name: "microsandbox-sandboxes-dev" }, { name: "shop" }, { name: "third" }],
      volumes: [extra],
    };
    const words = (text: string) => text.replaceAll(/['\\]/g, "");
    const [plain, changed] = [words(await runFlags()), words(await runFlags({ container }))];
    expect(changed).toBe(
      `${plain} --dns 10.0.0.2 --add-host registry.test:10.0.0.3 --network shop --volume /etc/hosts:/hosts:ro`,
    );
    const envs = words(await runFlags({ container: (args) => ({ ...args, envs: ["ONLY=1"] }) }));
    expect(envs.match(/--env \S+/g)).toEqual(["--env ONLY=1"]);
  });
});

it("lets a program at what is on the host", async () => {
  const services: Microsandbox[] = [];
  await registered(() => services.push(new Microsandbox("sandboxes", {})));
  const [service] = services;
  const names = await new Promise((resolve) =>
    pulumi
      .all([
        service?.container.name,
        service?.network.name,
        service?.volumes.state.name,
        service?.volumes.workspace.name,
      ])
      .apply(resolve),
  );
  const base = "microsandbox-sandboxes-dev";
  expect(names).toEqual([`${base}-server`, base, `${base}-state`, `${base}-workspace`]);
});

describe("paths", () => {
  const folder = mkdtempSync(join(tmpdir(), "a project "));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("of the package are the same when the checkout moves, where Pulumi runs the program", () => {
    vi.stubEnv("PULUMI_NODEJS_STACK", "dev");
    expect(isAbsolute(packageRoot())).toBe(false);
  });

  it("of the package are whole in an inline program, whose plugins run elsewhere", () => {
    vi.stubEnv("PULUMI_NODEJS_STACK", undefined);
    expect(packageRoot()).toBe(join(__dirname, "../../.."));
    expect(emulatedHostTool()).toContain(join(__dirname, "../../../emulated-host/emulated-host.sh"));
  });

  it("of the user's files start at the user's project", () => {
    writeFileSync(join(folder, "server.pem"), "certificate");
    vi.stubEnv("PULUMI_NODEJS_ROOT_DIRECTORY", folder);
    expect(givenPem({ generate: false, names: [], certificateFile: "server.pem" }).certificate).toBe(
      "certificate",
    );
  });
});
