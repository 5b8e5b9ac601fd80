import { spawnSync } from "node:child_process";
import { isSecret } from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { deployHosts } from "../../../../components/fleet";
import { Microsandbox } from "../../../../components/microsandbox";
import { checkSettings } from "../../../../components/settings/checks";
import { settingsAreIn } from "../../../../components/settings/message-commands";
import { hashOf } from "../../../harness/key-file";
import { type Registered, registered } from "../../../harness/pulumi-mocks";

const checksKeys = { devMode: false };
const given = "k".repeat(40);
const other = { id: "ci", hash: `sha256:${hashOf("k")}` };
const deploy = (args: MicrosandboxArgs) => registered(() => new Microsandbox("sandboxes", args));
const fleet = (raw: Record<string, unknown>) =>
  registered(() => deployHosts("microsandbox", checkSettings(raw).hosts ?? {}));
const makers = (resources: Registered[]) => resources.filter(({ name }) => name.endsWith("-api-key"));
const files = (resources: Registered[]) =>
  resources
    .filter(({ name }) => name.endsWith("-key-file"))
    .map(({ inputs }) => inputs.stdin.value as string);

describe("a key is made", () => {
  it("of 256 random bits, another one each time", async () => {
    const [maker] = makers(await deploy(checksKeys));
    const make = () => spawnSync("sh", ["-s"], { input: maker?.inputs.stdin, encoding: "utf8" });
    const [one, two] = [make(), make()];
    expect(one.stdout).toMatch(/^msb_[0-9a-f]{64}\n$/);
    expect(two.stdout).not.toBe(one.stdout);
    expect(one.stderr).toBe("");
  });

  it("which the server gets as a hash, and nothing else gets at all", async () => {
    const resources = await deploy(checksKeys);
    const [maker] = makers(resources);
    const made = `${maker?.name} output`;
    expect(files(resources)[0]).toContain(`"id":"default","hash":"sha256:${hashOf(made)}"`);
    expect(JSON.stringify(resources.map(({ inputs }) => inputs))).not.toContain(made);
    expect(maker?.inputs).toMatchObject({ logging: "none", addPreviousOutputInEnv: false });
  });

  it("for all services of a stack that have none together", async () => {
    const own = { apiKey: given, hostPort: 6001 };
    const resources = await fleet({ ...checksKeys, hosts: { default: {}, b: { hostPort: 6000 }, c: own } });
    expect(makers(resources).map(({ name }) => name)).toEqual(["microsandbox-api-key"]);
    const made = hashOf("microsandbox-api-key output");
    const hashes = files(resources).map((text) => text.includes(made));
    expect(hashes.filter(Boolean)).toHaveLength(2);
    expect(hashes).toHaveLength(3);
  });

  it("under the same name whether a stack has one host or several: a host more changes no key", async () => {
    const single = makers(await fleet(checksKeys));
    const several = makers(await fleet({ ...checksKeys, hosts: { default: {}, b: { hostPort: 6000 } } }));
    expect(several).toEqual(single);
    expect(single).toHaveLength(1);
  });

  it("once: nothing that the settings say later makes another", async () => {
    const inputs = async (args: MicrosandboxArgs) =>
      makers(await deploy({ ...checksKeys, ...args }))[0]?.inputs;
    const { stdin: before, ...rest } = (await inputs({})) ?? {};
    const { stdin: after, ...others } = (await inputs({ keys: [other], hostPort: 6000 })) ?? {};
    expect(others).toEqual(rest);
    // The script is ignored once it has run, see secret-command.ts; of a stack that has other keys it prints nothing.
    expect(spawnSync("sh", ["-s"], { input: after, encoding: "utf8" }).stdout).toBe("");
    expect(before).not.toBe(after);
  });
});

describe("no key is made", () => {
  it.each<[string, MicrosandboxArgs]>([
    ["in dev mode", { devMode: true }],
    ["where the settings have one", { ...checksKeys, apiKey: given }],
    ["where that is not wanted", { ...checksKeys, generateApiKey: false, keys: [other] }],
  ])("%s", async (_name, args) => {
    expect(makers(await deploy(args))).toEqual([]);
    expect(makers(await fleet({ ...args }))).toEqual([]);
  });

  it("and the one that the settings have is the server's", async () => {
    const [file] = files(await deploy({ ...checksKeys, apiKey: given }));
    expect(file).toContain(hashOf(given));
  });

  it("and a server that nobody could use is refused, with what gives it a key: an argument, or a line to type", async () => {
    const keyless = { ...checksKeys, generateApiKey: false };
    await expect(deploy(keyless)).rejects.toThrow(/there is no API key[\s\S]*fix: the argument apiKey$/);
    settingsAreIn(undefined);
    await expect(fleet(keyless)).rejects.toThrow(
      /there is no API key[\s\S]*pulumi config set --secret microsandbox:apiKey$/,
    );
  });
});

it("the key is an output, and a secret", async () => {
  const services: Microsandbox[] = [];
  await registered(() => services.push(new Microsandbox("sandboxes", checksKeys)));
  const key = services[0]?.apiKey;
  expect(await new Promise((resolve) => key?.apply(resolve))).toBe("sandboxes-api-key output");
  expect(key && (await isSecret(key))).toBe(true);
});
