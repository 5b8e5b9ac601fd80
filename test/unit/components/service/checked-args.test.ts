import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { Microsandbox } from "../../../../components/microsandbox";
import { healthyHost, type Registered, registered } from "../../../harness/pulumi-mocks";

/** A machine that the same program makes: its address is known once it is there. */
class Machine extends pulumi.CustomResource {
  declare readonly ip: pulumi.Output<string>;
  constructor(name: string, ip?: string) {
    super("test:index:Machine", name, ip === undefined ? { ip: undefined } : { ip });
  }
}

const find = (resources: Registered[], end: string): Registered["inputs"] => {
  const found = resources.find(({ name }) => name.endsWith(end));
  if (!found) throw new Error(`no resource ${end} among ${resources.map(({ name }) => name)}`);
  return found.inputs;
};

/** Runs a program in which a service's promises fail, and gives what they say. */
async function mistakesOf(program: () => unknown): Promise<{ said: string[]; resources: Registered[] }> {
  const said: string[] = [];
  const listen = (error: unknown) => said.push(error instanceof Error ? error.message : String(error));
  const before = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", listen);
  try {
    return { resources: await registered(program), said };
  } finally {
    process.off("unhandledRejection", listen);
    for (const each of before) process.on("unhandledRejection", each);
  }
}

describe("an address that another resource has", () => {
  const program = (ip?: string) => () => {
    const machine = new Machine("machine", ip);
    return void new Microsandbox("sandboxes", { host: pulumi.interpolate`ssh://root@${machine.ip}` });
  };

  it("is where the server goes", async () => {
    const resources = await registered(program("10.9.8.7"));
    expect(find(resources, "-host-engine").host).toBe("ssh://root@10.9.8.7");
    expect(find(resources, "-server-container").name).toBe("microsandbox-sandboxes-dev-server");
    expect(find(resources, "-server-pids-limit").create).toContain("root@10.9.8.7");
  });

  it("is not known in a preview, which asks no host and shows the rest", async () => {
    const resources = await registered(program(), healthyHost, "dev", { preview: true });
    expect(pulumi.containsUnknowns(find(resources, "-host-engine").host)).toBe(true);
    expect(find(resources, "-server-container")).toMatchObject({ memory: 4096, restart: "unless-stopped" });
  });

  it("is checked once it is known, before anything is made on a host", async () => {
    const { said, resources } = await mistakesOf(program("10.9.8.7/../"));
    expect(said.join()).toContain('microsandbox:host is "ssh://root@10.9.8.7/../"');
    expect(said.join()).toContain("accepted: local, emulated or ssh://user@address[:port]");
    expect(
      resources.filter(({ type }) => /^docker:index.*(Container|Volume|Network|Image)$/.test(type)),
    ).toEqual([]);
  });

  it("is one over SSH: other kinds of hosts have other resources", async () => {
    const { said } = await mistakesOf(
      () => new Microsandbox("sandboxes", { host: pulumi.output(Promise.resolve("local")) }),
    );
    expect(said.join()).toContain("ssh://user@address[:port] as an output");
  });
});

describe("a secret", () => {
  const key = "k".repeat(40);
  const program = (apiKey: pulumi.Input<string>) => () =>
    void new Microsandbox("sandboxes", { devMode: false, apiKey, limits: { sandboxes: pulumi.output(7) } });

  it("makes nothing else secret", async () => {
    const resources = await registered(program(pulumi.secret(key)));
    const { envs, memory } = find(resources, "-server-container");
    expect(memory).toBe(4096);
    expect(envs).toEqual(expect.arrayContaining(["LIMIT_SANDBOXES=7", "DEV_MODE=false"]));
  });

  it("is in the key file alone, and as a hash", async () => {
    const resources = await registered(program(pulumi.secret(key)));
    const plain = await registered(program(key));
    expect(find(resources, "-key-file")).toEqual(find(plain, "-key-file"));
    expect(JSON.stringify(resources)).not.toContain(key);
  });

  it("that is wrong is not shown", async () => {
    const { said } = await mistakesOf(program(pulumi.secret("hunter2")));
    expect(said.join()).toContain("microsandbox:apiKey has a secret value that is not accepted");
    expect(said.join()).not.toContain("hunter2");
  });
});

describe("what decides which resources there are", () => {
  const wrong: [string, MicrosandboxArgs][] = [
    ["devMode", { devMode: pulumi.output(false) as unknown as boolean }],
    ["volumes.keep", { volumes: { keep: pulumi.output(false) as unknown as boolean } }],
    ["tls.generate", { tls: { generate: Promise.resolve(true) as unknown as boolean } }],
    ["images", { images: [pulumi.output("alpine") as unknown as string] }],
  ];
  it.each(wrong)("has to be known at once: %s", async (key, args) => {
    await expect(registered(() => new Microsandbox("sandboxes", args))).rejects.toThrow(
      `microsandbox:${key} is an output, but decides which resources exist`,
    );
  });

  it("is not looked at for what is known only later", async () => {
    const tls = { certificate: pulumi.output("x"), keyFile: "/none" };
    const { said } = await mistakesOf(() => new Microsandbox("sandboxes", { tls }));
    expect(said.join()).toContain("microsandbox:tls.certificate is");
  });
});

/** Some settings, each given at once or later; whether it is known when does not change what is made. */
const later = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<{ value: T; isLater: boolean } | undefined> =>
  fc.option(fc.record({ value, isLater: fc.boolean() }), { nil: undefined });
const someArgs = fc.record({
  hostPort: later(fc.integer({ min: 1, max: 65535 })),
  memoryLimit: later(fc.constantFrom("256M", "2G", "16G")),
  cpuLimit: later(fc.constantFrom(0.5, 2, 6)),
  timezone: later(fc.constant("Europe/Berlin")),
  egressAllow: later(fc.constantFrom(["10.1.0.0/16"], [])),
  stopTimeout: later(fc.integer({ min: 1, max: 3600 })),
  registry: later(fc.constant("registry.test/team")),
});

it("makes the same of a value, whenever it is known", async () => {
  await fc.assert(
    fc.asyncProperty(someArgs, async (given) => {
      const argsWith = (wrap: (value: unknown) => unknown): MicrosandboxArgs =>
        Object.fromEntries(
          Object.entries(given).flatMap(([key, arg]) =>
            arg ? [[key, arg.isLater ? wrap(arg.value) : arg.value]] : [],
          ),
        );
      const atOnce = await registered(
        () =>
          new Microsandbox(
            "sandboxes",
            argsWith((value) => value),
          ),
      );
      const asOutputs = await registered(
        () =>
          new Microsandbox(
            "sandboxes",
            argsWith((value) => pulumi.output(Promise.resolve(value))),
          ),
      );
      const byName = (a: Registered, b: Registered) => (a.name < b.name ? -1 : 1);
      expect(asOutputs.sort(byName)).toEqual(atOnce.sort(byName));
    }),
    { numRuns: 15 },
  );
});
