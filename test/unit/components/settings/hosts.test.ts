import { setAllConfig } from "@pulumi/pulumi/runtime/config";
import { afterEach, describe, expect, it } from "vitest";
import { checkSettings } from "../../../../components/settings/checks";
import { explainErrors } from "../../../../components/settings/setting-errors";
import { readStackSettings } from "../../../../components/stack-settings";

/** Keys of the errors, and the lines that fix them. */
function mistakesOf(raw: Record<string, unknown>): { keys: string[]; message: string } {
  const { errors } = checkSettings(raw);
  return { keys: errors.map(({ key }) => key), message: explainErrors(errors) };
}

const a = "ssh://root@a.test";
const b = "ssh://root@b.test";

describe("the settings of each host", () => {
  it("are the stack's own, with its overrides laid over them", () => {
    const { hosts } = checkSettings({
      memoryLimit: "2G",
      limits: { sandboxes: 5, cpus: 2 },
      hosts: {
        a: { host: a, memoryLimit: "8G", allowRemoval: true },
        b: { host: b, limits: { sandboxes: 9 } },
      },
    });
    expect(Object.keys(hosts ?? {})).toEqual(["a", "b"]);
    expect(hosts?.a).toMatchObject({
      host: a,
      memoryLimit: 8 * 1024 ** 3,
      limits: { sandboxes: 5, cpus: 2 },
    });
    expect(hosts?.b).toMatchObject({
      host: b,
      memoryLimit: 2 * 1024 ** 3,
      limits: { sandboxes: 9, cpus: 2 },
    });
  });

  it("are those of the host `default` where there is none", () => {
    expect(checkSettings({ hostPort: 6000 }).hosts).toMatchObject({ default: { hostPort: 6000 } });
    expect(checkSettings({ hosts: "{}" }).hosts).toMatchObject({ default: { hostPort: 5555 } });
  });

  it("may be JSON, as a whole or of one host", () => {
    const hosts = `{"a":{"host":"${a}","kvmCheck":false,"allowRemoval":"true"}}`;
    expect(checkSettings({ hosts }).hosts?.a).toMatchObject({ host: a, kvmCheck: "off" });
    expect(checkSettings({ hosts: { a: `{"host":"${a}","allowRemoval":true}` } }).hosts?.a).toMatchObject({
      host: a,
    });
  });

  it("need not go together before the overrides are laid over them", () => {
    const raw = {
      bindAddress: "0.0.0.0",
      hosts: { a: { host: a, exposeDevMode: true, allowRemoval: true } },
    };
    expect(mistakesOf(raw).keys).toEqual([]);
  });
});

describe("errors name the host and the setting", () => {
  it.each<[string, Record<string, unknown>, string[], RegExp]>([
    [
      "a wrong value",
      { hosts: { a: { host: a, memoryLimit: "lots" } } },
      ["hosts.a.memoryLimit"],
      /config set --path microsandbox:hosts\.a\.memoryLimit 4G/,
    ],
    [
      "a wrong part",
      { hosts: { a: { volumes: { keep: "maybe" } } } },
      ["hosts.a.volumes.keep"],
      /config rm --path microsandbox:hosts\.a\.volumes/,
    ],
    [
      "a misspelt name",
      { hosts: { a: { hostport: 6000 } } },
      ["hosts.a.hostport"],
      /set --path microsandbox:hosts\.a\.hostPort 6000 && pulumi config rm --path microsandbox:hosts\.a\.hostport/,
    ],
    [
      "settings that don't go together",
      { hosts: { a: { bindAddress: "0.0.0.0" } } },
      ["hosts.a.bindAddress"],
      /config set --path microsandbox:hosts\.a\.bindAddress 127\.0\.0\.1/,
    ],
    ["hosts of a host", { hosts: { a: { hosts: {} } } }, ["hosts.a.hosts"], /applies to the whole stack/],
    [
      "a user of the registry alone, once for all",
      { registry: "r.test", registryUser: "me", hosts: { a: {}, b: { hostPort: 6000 } } },
      ["registryPassword"],
      /together, with registry or serverImage/,
    ],
    [
      "a registry of a host",
      { hosts: { a: { registry: "r.test" } } },
      ["hosts.a.registry"],
      /applies to the whole stack/,
    ],
    ["a host that is no object", { hosts: { a: "local" } }, ["hosts.a"], /an object of hosts/],
    ["hosts that are a list", { hosts: ["a"] }, ["hosts"], /an object of hosts/],
    [
      "what the stack has wrong, once",
      { port: "x", hosts: { a: {} } },
      ["port"],
      /config set microsandbox:port 5555/,
    ],
    [
      "what a host has wrong as well",
      { port: "x", hosts: { a: { port: "y" } } },
      ["port", "hosts.a.port"],
      /"x"[\s\S]*"y"/,
    ],
  ])("%s", (_name, raw, keys, message) => {
    const errors = mistakesOf(raw);
    expect(errors.keys).toEqual(keys);
    expect(errors.message).toMatch(message);
  });

  it.each(["A", "a_b", "-a", "a-", "", "a.b", "a".repeat(31), "../x", 'a"b'])("a name like %j", (name) => {
    const { keys, message } = mistakesOf({ hosts: { [name]: {} } });
    expect(keys).toEqual([`hosts.${name}`]);
    expect(message).toMatch(/lower-case letters, digits and hyphens/);
    expect(message).toContain(`give the host ${JSON.stringify(name)} another name in Pulumi.<stack>.yaml`);
  });

  it.each(["a", "0", "kvm-1", "a".repeat(30), "constructor"])("but takes %j", (name) => {
    expect(Object.keys(checkSettings({ hosts: { [name]: { allowRemoval: true } } }).hosts ?? {})).toEqual([
      name,
    ]);
  });

  it.each(["constructor", "toString", "a"])("a host %j that is no object", (name) => {
    const { keys, message } = mistakesOf({ hosts: { [name]: false } });
    expect(keys).toEqual([`hosts.${name}`]);
    expect(message).toContain("is false");
  });

  it("hides the values of a map that holds a secret", () => {
    const { errors } = checkSettings({ hosts: { a: { apiKey: "hunter2" } } }, ["hosts"]);
    expect(errors).toHaveLength(1);
    expect(JSON.stringify(errors)).not.toContain("hunter2");
  });
});

describe("hosts without `default`, which would drop the server of a stack that had one host", () => {
  const hosts = { east: { host: a }, west: { host: b } };

  it("are refused, with both ways on", () => {
    const { keys, message } = mistakesOf({ hosts });
    expect(keys).toEqual(["hosts"]);
    expect(message).toMatch(/names east, west, but not default[\s\S]*would be removed/);
    expect(message).toMatch(
      /accepted: the name default for the host.*allowRemoval true on one.*\n.*fix: .*give the host that the stack already has the name default/,
    );
  });

  it.each([true, "true"])("are accepted where one of them allows it: %j", (allowRemoval) => {
    const { hosts: accepted } = checkSettings({ hosts: { ...hosts, west: { ...hosts.west, allowRemoval } } });
    expect(Object.keys(accepted ?? {})).toEqual(["east", "west"]);
    expect(accepted?.west).not.toHaveProperty("allowRemoval");
  });

  it("are accepted with one of that name", () => {
    expect(mistakesOf({ hosts: { ...hosts, default: {} } }).keys).toEqual([]);
  });

  it.each([
    [{ allowRemoval: false }, "hosts"],
    [{ allowRemoval: "false" }, "hosts"],
    [{ allowRemoval: "yes" }, "hosts.east.allowRemoval"],
  ])("are not accepted for %j", (word, key) => {
    expect(mistakesOf({ hosts: { ...hosts, east: { ...hosts.east, ...word } } }).keys).toEqual([key]);
  });
});

describe("two hosts on one engine", () => {
  const port = "hosts.b.hostPort";
  it.each<[string, Record<string, Record<string, unknown>>, string[]]>([
    ["one port here", { a: {}, b: {} }, [port]],
    ["one port over ssh, as other users", { a: { host: a }, b: { host: "ssh://me@A.test:22" } }, [port]],
    ["one port, any address", { a: { exposeDevMode: true, bindAddress: "::" }, b: {} }, [port]],
    ["one port here, of an emulated host", { a: {}, b: { host: "emulated" } }, [port]],
    ["other addresses", { a: {}, b: { bindAddress: "127.0.0.2" } }, []],
    ["other ports", { a: {}, b: { hostPort: 6000 } }, []],
    ["other machines", { a: { host: a }, b: { host: b } }, []],
    ["another SSH port", { a: { host: a }, b: { host: `${a}:2222` } }, []],
    [
      "one volume",
      { a: { volumes: { state: "vol" } }, b: { hostPort: 6000, volumes: { workspace: "vol" } } },
      ["hosts.b.volumes.workspace"],
    ],
    [
      "one volume, each on its emulated host",
      {
        a: { host: "emulated", volumes: { state: "vol" } },
        b: { host: "emulated", hostPort: 6000, volumes: { state: "vol" } },
      },
      [],
    ],
  ])("%s", (_name, hosts, keys) => {
    const named = { ...hosts, b: { ...hosts.b, allowRemoval: true } };
    expect(mistakesOf({ hosts: named }).keys).toEqual(keys);
  });

  it("are given ports of their own to choose", () => {
    const { message } = mistakesOf({ hosts: { a: {}, b: {}, c: { hostPort: 5556 }, d: {} } });
    expect(message).toContain("config set --path microsandbox:hosts.b.hostPort 5557");
    expect(message).toContain("config set --path microsandbox:hosts.d.hostPort 5558");
  });
});

describe("the stack's configuration", () => {
  afterEach(() => setAllConfig({}));

  it("gives the hosts by name", () => {
    setAllConfig({
      "microsandbox:hostPort": "6000",
      "microsandbox:hosts": `{"a":{"host":"${a}","allowRemoval":true}}`,
    });
    expect(readStackSettings().hosts).toMatchObject({ a: { host: a, hostPort: 6000 } });
  });
});
