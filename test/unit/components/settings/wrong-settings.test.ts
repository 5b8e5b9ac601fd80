import { describe, expect, test } from "vitest";
import { messageFor } from "./message-for";

/** A key that is accepted. */
const ci = { id: "ci", hash: `sha256:${"0".repeat(64)}` };
describe("wrong settings", () => {
  test.each<[string, unknown[]]>([
    ["version", ["v0.7.11", "0.7", "newest", "", 7]],
    ["debianVersion", ["", "-slim", "13 slim", "debian:13"]],
    ["registryPrefix", ["registry.example.com", "https://registry.example.com/", "/", "a//"]],
    ["registry", ["https://registry.example.com", "registry.example.com/", "a b", "Registry"]],
    ["registryUser", ["a:b", "a\nb"]],
    ["autoPullImages", ["yes", "1", "", 1, null]],
    ["port", ["0", "65536", "80.5", "http", "", "-1", "1e3", Number.NaN, {}]],
    ["hostPort", ["0x50", "80/tcp", true, []]],
    ["bindAddress", ["localhost", "", "256.0.0.1", "10.0.0.0/8", "::g"]],
    ["timezone", ["", "utc", "Berlin", "+01:00", "Mars/Base", "../../etc/passwd"]],
    ["cpuLimit", ["0", "0.05", "1025", "two", "-1", "1,5", Number.POSITIVE_INFINITY]],
    ["memoryLimit", ["4", "4X", "1k", "-4G", "", "4 G B", "1000000k", "1e9G", "65T", null]],
    ["memoryReservation", ["63M", "64.5K"]],
    ["pidsLimit", ["0", "-1", "63", "unlimited"]],
    [
      "host",
      ["", "remote", "ssh://host", "ssh://-oProxyCommand=x@h", "ssh://u@-h", "ssh://u:p@h", "ssh://u@h:0"],
    ],
    ["host", ["ssh://u@h/path", "ssh://u@h;reboot", "ssh://u@[::g]", "tcp://h:2375"]],
    ["sshKeyFile", ["-oProxyCommand=x", "a\nb", 'a"b']],
    ["emulatedMemory", ["1G", "2T"]],
    ["emulatedDisk", ["7G", "17T"]],
    ["architecture", ["x86_64", "arm", "AMD64"]],
    ["images", ["alpine", "{}", [""], ["-v"], ["Alpine"], ["a b"], ["alpine@sha256:1"], [1]]],
    [
      "keys",
      ["ci", "{}", [1], [{ id: "ci" }], [{ id: "ci", hash: "0".repeat(64) }], [{ ...ci, key: "msb_1" }]],
    ],
    ["keys", [[{ ...ci, id: "a b" }], [{ ...ci, id: "default" }], [ci, ci], [{ ...ci, replaced: true }]]],
    ["keys", [[{ ...ci, expires: "2027-01-31" }], [{ ...ci, limits: { sandboxes: 0 } }]]],
    ["volumes", ["state", "[]", { state: "a" }, { state: "../x" }, { keep: "maybe" }, { kept: true }, null]],
    ["versionSha256", ["abc", { amd64: "0".repeat(63) }, { x86: "0".repeat(64) }]],
    [
      "warm",
      ["starter", [1], [{ image: "starter" }], [{ image: "Starter", count: 1 }], [{ image: "a", count: 0 }]],
    ],
    [
      "warm",
      [
        [{ image: "a", count: 101 }],
        [{ image: "a", count: 1, memory: 1 }],
        [{ image: "a", count: 1, cpus: 65 }],
      ],
    ],
    ["kvmCheck", ["on", "true", true, "Device"]],
    ["stopTimeout", ["0", "3601", "60s"]],
    ["logMaxSize", ["100", "100M", "m", "0m", "1.5m"]],
    ["logMaxFiles", ["0", "1001"]],
  ])("%s refuses %j", (key, values) => {
    for (const value of values) expect(messageFor({ [key]: value })).toContain(`microsandbox:${key}`);
  });

  test("unknown keys: the nearest name takes the value over, unless it is set already", () => {
    expect(messageFor({ host_port: "8080" })).toContain(
      "config set microsandbox:hostPort 8080 && pulumi config rm microsandbox:host_port",
    );
    expect(messageFor({ host_port: "8080", hostPort: "1" })).not.toContain("config set");
    expect(messageFor({ colour: "red" })).toContain("one of version, ");
    expect(messageFor(JSON.parse('{"__proto__": "x", "constructor": "y"}'))).toMatch(/^2 settings are wrong/);
  });

  test("all errors come at once, those between settings too", () => {
    const message = messageFor({
      port: "x",
      hostport: "1",
      cpuReservation: "9",
      bindAddress: "0.0.0.0",
      volumes: "{]",
    });
    expect(message).toMatch(/^5 settings are wrong; no host was changed\.\n/);
    for (const key of ["port", "hostport", "cpuReservation", "bindAddress", "volumes"]) {
      expect(message.split(`\n  microsandbox:${key} `)).toHaveLength(2);
    }
  });

  test("a production stack lists all that is missing at once", () => {
    const message = messageFor({ production: true, volumes: { keep: false } });
    expect(message).toMatch(/^5 settings are wrong/);
    for (const key of ["privileged", "devMode", "tls", "kvmCheck", "volumes.keep"])
      expect(message).toContain(`microsandbox:${key} is `);
    expect(message).toContain("generate true, or a certificate and its key");
  });

  test("lines name the stack, and arguments when the settings come from a program", () => {
    expect(messageFor({ port: "x" }, { stack: "prod" })).toContain(
      "config set microsandbox:port 5555 --stack prod",
    );
    const code = messageFor({ port: "x", colour: 1 }, { source: "code" });
    expect(code).toContain("fix:      port: 5555");
    expect(code).toContain("fix:      remove colour");
    expect(code).not.toContain("npm run");
  });

  test("keys: what is wrong with one is said, what is right is kept, and a secret list is not shown", () => {
    const message = messageFor({ keys: [ci, { ...ci, expires: "2030-01-01T00:00:00Z" }] });
    expect(message).toContain('keys.1.id is "ci" (there is a key with that id)');
    expect(message).toContain("correct [1].id in it");
    const date = messageFor({ keys: [{ ...ci, expires: "2027-01-31" }] }, { secretKeys: ["keys"] });
    expect(date).toContain("a date needs a time and an offset");
    const secret = messageFor({ keys: JSON.stringify([{ ...ci, id: "?" }]) }, { secretKeys: ["keys"] });
    expect(secret).not.toContain(ci.hash);
    expect(messageFor({ isolateByKey: true })).toContain("no API keys to separate");
  });

  test("a secret value is never shown, a long one is cut", () => {
    const secret = messageFor(
      { hostPort: "hunter2", hunter: "hunter2" },
      { secretKeys: ["hostPort", "hunter"] },
    );
    expect(secret).not.toContain("hunter2");
    expect(messageFor({ host: "x".repeat(10_000) }).length).toBeLessThan(500);
  });

  test("a registry's password is never shown, wherever the error is", () => {
    const login = { username: "bot", password: "hunter2" };
    for (const registries of [
      { logins: { "ghcr.io": { ...login, password: ["hunter2"] } } },
      { logins: { "ghcr.io": { ...login, token: "hunter2" } } },
      { logins: { "not a host": login } },
      { login: { "ghcr.io": login } },
      { logins: { "ghcr.io": login }, plainHttp: ["http://x"] },
      { logins: "ghcr.io bot hunter2" },
    ]) {
      const message = messageFor({ registries: JSON.stringify(registries) });
      expect(message).toMatch(/microsandbox:registries\.(login|plainHttp)/);
      expect(message).not.toContain("hunter2");
    }
  });

  test("certificates are those, and a mirror is a prefix", () => {
    const message = messageFor({
      registries: { certificates: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" },
    });
    expect(message).toContain("accepted: PEM text of one certificate or more");
    expect(messageFor({ registries: { mirrors: { "docker.io": "https://mirror.test" } } })).toContain(
      "an object of prefixes by registry, each ending in /",
    );
  });
});
