import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { chooseServer, takeOptions } from "../../../cli/commands/sandbox";
import { resourcesOf } from "../../../cli/deploy/host-resources";
import { unfinishedUpgrades } from "../../../cli/deploy/unfinished-upgrade";
import { parseSettings } from "../../../cli/settings";
import { hostsOf as hostsOfSettings } from "../../../cli/stack";
import { baseNameOf } from "../../../components/host/names";
import { SERVICE } from "../../../components/settings/hosts";
import { parseSettings as parseWholeSettings } from "../../../components/settings/parse-settings";
import { DEFAULT_DEBIAN } from "../../../components/settings/versions";
import { projectName } from "../../../setup/project";

describe("which server is meant", () => {
  const on = (...hosts: string[]) =>
    hosts.map((host) => ({
      ...{ host, container: `${host}-server`, checksKeys: true },
      connection: { kind: "local" as const },
    }));

  it.each<[string, string | undefined, string[], string]>([
    ["the only one", undefined, ["default"], "default"],
    ["the only one, by its name", "default", ["default"], "default"],
    ["the one that is named", "b", ["a", "b"], "b"],
    ["the only one of a map", undefined, ["a"], "a"],
  ])("%s", (_name, host, hosts, expected) => {
    expect(chooseServer("dev", host, on(...hosts)).container).toBe(`${expected}-server`);
  });

  it.each<[string, string | undefined, string[], RegExp]>([
    [
      "nothing is deployed",
      undefined,
      [],
      /No server is deployed in stack dev[\s\S]*npm run up -- --stack dev/,
    ],
    ["it has to be said", undefined, ["a", "b"], /several hosts: a, b\. Choose one: --host a/],
    ["there is one only", "a", ["default"], /has one server: leave --host a out/],
    [
      "it was never deployed or is none",
      "c",
      ["a", "b"],
      /no server on the host c;.* these: a, b\. To deploy it/,
    ],
    ["it is a name of JavaScript's", "constructor", ["a", "b"], /host constructor/],
  ])("says what to type: %s", (_name, host, hosts, message) => {
    expect(() => chooseServer("dev", host, on(...hosts))).toThrow(message);
  });

  it.each<[string[], ReturnType<typeof takeOptions>]>([
    [["ls"], [{}, ["ls"]]],
    [
      ["--host", "a", "--stack=prod", "ls"],
      [{ host: "a", stack: "prod" }, ["ls"]],
    ],
    [
      ["run", "--host", "a"],
      [{}, ["run", "--host", "a"]],
    ],
    [["--host"], [{}, ["--host"]]],
  ])("takes the options in front of msb's words: %j", (args, expected) => {
    expect(takeOptions(args)).toEqual(expected);
  });
});

it("finds the resources of a host, and none of one whose name begins alike", () => {
  const host = (name: string) => `urn:pulumi:dev::microsandbox::microsandbox:index:Microsandbox::${name}`;
  const below = (name: string) => `${host(name)}-server`;
  const resources = ["microsandbox", "microsandbox-a", "microsandbox-a-b"].flatMap((name) => [
    { urn: host(name), type: "microsandbox:index:Microsandbox", parent: "urn:stack" },
    { urn: below(name), type: "microsandbox:index:Server", parent: host(name) },
    { urn: `${below(name)}-x`, type: "docker:index/container:Container", parent: below(name) },
  ]);
  const names = (name: string) => resourcesOf({ name }, resources).map((urn) => urn.split("::").pop());
  expect(names("a")).toEqual(["microsandbox-a", "microsandbox-a-server", "microsandbox-a-server-x"]);
  expect(names("default")).toEqual(["microsandbox", "microsandbox-server", "microsandbox-server-x"]);
});

describe("an upgrade whose new server did not get ready", () => {
  const report = JSON.stringify({
    image: "sha256:b",
    from: "0.6.18",
    copy: "0.6.18-20260102T030405Z",
    stoppedAt: 5,
  });
  const state = (name: string, done?: string) => {
    const parent = `urn::${name}`;
    return [
      { urn: parent, type: "microsandbox:index:Microsandbox", parent: "urn:stack" },
      { urn: `${parent}-upgrade-trial`, type: "command:local:Command", parent, outputs: { stdout: report } },
      ...(done === undefined
        ? []
        : [
            {
              urn: `${parent}-upgrade-done`,
              type: "command:local:Command",
              parent,
              outputs: { triggers: [done] },
            },
          ]),
    ];
  };
  const host = (name: string, version = "0.7.11") => ({
    ...{ name, version, baseName: "", architecture: "auto" as const, debianVersion: "", registryPrefix: "" },
    ...{ host: "local", devMode: true, production: false },
  });

  it("can be taken back, which is said", () => {
    const [text, ...more] = unfinishedUpgrades("dev", [host("default")], state("microsandbox", "of before"));
    expect(more).toEqual([]);
    expect(text).toMatch(
      /from microsandbox 0\.6\.18 is not finished[\s\S]*to continue: npm run up -- --stack dev/,
    );
    expect(text).toMatch(/to go back.*config set version 0\.6\.18 --stack dev && npm run up -- --stack dev/);
    expect(unfinishedUpgrades("dev", [host("default", "0.6.18")], state("microsandbox"))[0]).toMatch(
      /to go back: .* from the previous checkout with the previous settings/,
    );
  });

  it("is told of its host where there are several", () => {
    const resources = [...state("microsandbox-a", report), ...state("microsandbox-b")];
    expect(unfinishedUpgrades("dev", [host("a"), host("b")], resources)).toEqual([
      expect.stringMatching(/^Host b: [\s\S]*config set --path hosts\.b\.version 0\.6\.18/),
    ]);
  });

  it("is no matter where there was none", () => {
    expect(unfinishedUpgrades("dev", [host("default")], state("microsandbox", report))).toEqual([]);
    expect(unfinishedUpgrades("dev", [host("default")], [])).toEqual([]);
  });
});

describe("what set-up knows of the hosts", () => {
  /** @param config as `pulumi config --json` has it: text, or JSON as text */
  const hostsOf = (config: Record<string, string>) => {
    const entries = Object.entries(config).map(([key, value]) => [key, { value, secret: false }]);
    return hostsOfSettings(
      "organization/microsandbox/dev",
      parseSettings(JSON.stringify(Object.fromEntries(entries))),
    );
  };

  it("names what is on them as the program does", () => {
    const hosts = hostsOf({ "microsandbox:hosts": '{"a":{"host":"emulated","hostPort":6000},"default":{}}' });
    expect(hosts.map(({ name, host, baseName }) => [name, host, baseName])).toEqual([
      ["a", "emulated", "microsandbox-a-dev"],
      ["default", "local", "microsandbox-dev"],
    ]);
  });

  it("names it as the component does, whatever the project and the stack are called", () => {
    const [host] = hostsOfSettings("org/x+y", parseSettings("{}"));
    expect(host?.baseName).toBe(baseNameOf(SERVICE, { project: projectName(), stack: "x+y" }));
    const root = join(__dirname, "../../..");
    const sources = readdirSync(join(root, "cli"), { recursive: true, encoding: "utf8" });
    const byHand = ["index.ts", ...sources.map((file) => `cli/${file}`)].filter(
      (file) =>
        file.endsWith(".ts") &&
        /["'`/*]microsandbox["'`*]|(?:locks|stacks)\/.*microsandbox/.test(
          readFileSync(join(root, file), "utf8").replaceAll("/var/lib/microsandbox", ""),
        ),
    );
    expect(byHand).toEqual([]);
  });

  it("bases its image on the same Debian as the program, in every command", () => {
    expect(hostsOf({})[0]?.debianVersion).toBe(parseWholeSettings({}).debianVersion);
    const folder = join(__dirname, "../../../cli");
    const sources = readdirSync(folder, { recursive: true, encoding: "utf8" });
    const texts = sources
      .filter((file) => file.endsWith(".ts"))
      .map((file) => readFileSync(join(folder, file), "utf8"));
    expect(texts.filter((text) => text.includes(DEFAULT_DEBIAN))).toEqual([]);
  });

  it("takes a host for what it is, whatever else is wrong, of another project or does not go together", () => {
    const hosts = hostsOf({
      "microsandbox:host": "emulated",
      "microsandbox:registries": '{"logins":[{"registry":"r.example.com","user":"u","password":"p"}]}',
      "microsandbox:tls": '{"certificate":"none","key":"none"}',
      "microsandbox:bindAddress": "0.0.0.0",
      "microsandbox:memoryLimit": "lots",
      "microsandbox:volumes": '{"state":"mine"}',
      "other:host": "local",
    });
    expect(hosts).toMatchObject([{ name: "default", host: "emulated", volumes: { state: "mine" } }]);
    const several = hostsOf({ "microsandbox:hosts": '{"a":{"host":"emulated","tls":{"key":"k"}},"B/":{}}' });
    expect(several).toMatchObject([{ name: "a", host: "emulated" }]);
  });
});
