import { describe, expect, test } from "vitest";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { VisibleError } from "../../../../components/settings/visible-error";
import { testCertificate } from "../../../harness/certificate";

/** The error message for wrong settings; fails the test where they are accepted. */
function messageFor(raw: Record<string, unknown>, options?: Parameters<typeof parseSettings>[1]): string {
  try {
    parseSettings(raw, options);
  } catch (error) {
    expect(error).toBeInstanceOf(VisibleError);
    return (error as VisibleError).message;
  }
  throw new Error(`accepted: ${JSON.stringify(raw)}`);
}

/** A key that is accepted. */
const ci = { id: "ci", hash: `sha256:${"0".repeat(64)}` };

/** What is given, and the whole message but its first lines. */
const wrong: [Record<string, unknown>, string][] = [
  [
    { version: "v0.7.11" },
    [
      '  microsandbox:version is "v0.7.11"',
      "    accepted: a version like 0.7.11",
      "    fix:      pulumi config set microsandbox:version 0.7.11",
    ].join("\n"),
  ],
  [
    // No hash is known of what is the latest some day.
    { version: "latest" },
    [
      '  microsandbox:version is "latest"',
      "    accepted: a version like 0.7.11",
      "    fix:      pulumi config set microsandbox:version 0.7.11",
    ].join("\n"),
  ],
  [
    { registryPrefix: "https://registry.example.com" },
    [
      '  microsandbox:registryPrefix is "https://registry.example.com"',
      "    accepted: nothing, or a registry (and path) that ends in /",
      "    fix:      pulumi config set microsandbox:registryPrefix registry.example.com/",
    ].join("\n"),
  ],
  [
    { hostPort: "99999" },
    [
      '  microsandbox:hostPort is "99999"',
      "    accepted: a TCP port, a whole number from 1 to 65535",
      "    fix:      pulumi config set microsandbox:hostPort 5555",
    ].join("\n"),
  ],
  [
    { memoryLimit: "4X" },
    [
      '  microsandbox:memoryLimit is "4X" (not a size)',
      "    accepted: a size from 256M to 64T in whole mebibytes, like 4G, 512M or 1.5g",
      "    fix:      pulumi config set microsandbox:memoryLimit 4G",
    ].join("\n"),
  ],
  [
    { memoryLimit: "4" },
    [
      '  microsandbox:memoryLimit is "4" (4 bytes is too little)',
      "    accepted: a size from 256M to 64T in whole mebibytes, like 4G, 512M or 1.5g",
      "    fix:      pulumi config set microsandbox:memoryLimit 4G",
    ].join("\n"),
  ],
  [
    { cpuLimit: "0" },
    [
      '  microsandbox:cpuLimit is "0"',
      "    accepted: a number of CPUs from 0.1 to 1024, like 2 or 0.5",
      "    fix:      pulumi config set microsandbox:cpuLimit 4",
    ].join("\n"),
  ],
  [
    { cpuReservation: "8" },
    [
      "  microsandbox:cpuReservation is 8, more than cpuLimit, which is 4",
      "    accepted: at most 4, or a higher cpuLimit",
      "    fix:      pulumi config set microsandbox:cpuReservation 4",
    ].join("\n"),
  ],
  [
    { memoryReservation: "6G" },
    [
      "  microsandbox:memoryReservation is 6G, more than memoryLimit, which is 4G",
      "    accepted: at most 4G, or a higher memoryLimit",
      "    fix:      pulumi config set microsandbox:memoryReservation 4G",
    ].join("\n"),
  ],
  [
    { host: "root@10.1.2.3" },
    [
      '  microsandbox:host is "root@10.1.2.3"',
      "    accepted: local, emulated or ssh://user@address[:port]",
      "    fix:      pulumi config set microsandbox:host ssh://root@10.1.2.3",
    ].join("\n"),
  ],
  [
    { host: "emulated", memoryLimit: "8G" },
    [
      "  microsandbox:emulatedMemory is 6G, less than memoryLimit, which is 8G",
      "    accepted: at least 8G, or a lower memoryLimit",
      "    fix:      pulumi config set microsandbox:emulatedMemory 8G",
    ].join("\n"),
  ],
  [
    { host: "emulated", bindAddress: "0:0::1" },
    [
      "  microsandbox:bindAddress is ::1, but an emulated host is reached by IPv4 only",
      "    accepted: an IPv4 address for an emulated host, like 127.0.0.1",
      "    fix:      pulumi config set microsandbox:bindAddress 127.0.0.1",
    ].join("\n"),
  ],
  [
    { host: "emulated", memoryLimit: "4G", hostPort: 22 },
    [
      "  microsandbox:hostPort is 22, which is the port of an emulated host's own SSH server",
      "    accepted: another port for an emulated host, like 5555",
      "    fix:      pulumi config set microsandbox:hostPort 5555",
    ].join("\n"),
  ],
  [
    { bindAddress: "0.0.0.0" },
    [
      "  microsandbox:bindAddress is 0.0.0.0 in dev mode: anyone who reaches it could run code without an API key",
      "    accepted: 127.0.0.1 in dev mode; any address with devMode false, or with exposeDevMode true",
      "    fix:      pulumi config set microsandbox:bindAddress 127.0.0.1",
    ].join("\n"),
  ],
  [
    { devMode: "false", bindAddress: "0.0.0.0" },
    [
      "  microsandbox:bindAddress is 0.0.0.0 without TLS: API keys and data could be read in transit",
      "    accepted: 127.0.0.1 without TLS; any address with tls.generate true, with a certificate in tls, or with exposeHttp true",
      "    fix:      pulumi config set --path microsandbox:tls.generate true",
    ].join("\n"),
  ],
  [
    { tls: { certificate: testCertificate } },
    [
      "  microsandbox:tls has a certificate without a key, or a key without a certificate",
      "    accepted: generate true alone, or a certificate with its key, each as text or as a file",
      "    fix:      pulumi config set --path microsandbox:tls.generate true",
    ].join("\n"),
  ],
  [
    { timezone: "Europe/Berln" },
    [
      '  microsandbox:timezone is "Europe/Berln"',
      "    accepted: a name of the IANA time zone database, like UTC or Europe/Berlin",
      "    fix:      pulumi config set microsandbox:timezone Europe/Berlin",
    ].join("\n"),
  ],
  [
    { architecture: "x86_64" },
    [
      '  microsandbox:architecture is "x86_64"',
      "    accepted: auto, amd64 or arm64",
      "    fix:      pulumi config set microsandbox:architecture amd64",
    ].join("\n"),
  ],
  [
    { images: "alpine" },
    [
      '  microsandbox:images is "alpine"',
      '    accepted: a list of image references, like ["alpine:3.22"]',
      "    fix:      pulumi config rm microsandbox:images && pulumi config set --path 'microsandbox:images[0]' alpine",
    ].join("\n"),
  ],
  [
    { images: '["alpine","-v"]' },
    [
      '  microsandbox:images.1 is "-v"',
      '    accepted: a list of image references, like ["alpine:3.22"]',
      "    fix:      pulumi config rm microsandbox:images && pulumi config set --path 'microsandbox:images[0]' alpine",
    ].join("\n"),
  ],
  [
    { volumes: '{"stat":"msb","keep":"maybe"}' },
    [
      '  microsandbox:volumes.keep is "maybe"',
      "    accepted: true or false",
      "    fix:      pulumi config rm microsandbox:volumes && pulumi config set --path microsandbox:volumes.state msb",
      "",
      "  microsandbox:volumes.stat is not a setting",
      "    accepted: state (the closest name)",
      "    fix:      pulumi config rm microsandbox:volumes && pulumi config set --path microsandbox:volumes.state msb",
    ].join("\n"),
  ],
  [
    { volumes: { state: "data", workspace: "data" } },
    [
      '  microsandbox:volumes.workspace is "data", the same as volumes.state',
      "    accepted: another volume, or no value for the default name",
      "    fix:      pulumi config rm --path microsandbox:volumes.workspace",
    ].join("\n"),
  ],
  [
    { registry: "https://registry.example.com/" },
    [
      '  microsandbox:registry is "https://registry.example.com/"',
      "    accepted: a registry with or without a path, like registry.example.com/team",
      "    fix:      pulumi config set microsandbox:registry registry.example.com",
    ].join("\n"),
  ],
  [
    { registry: "registry.example.com", registryUser: "me" },
    [
      "  microsandbox:registryPassword is missing",
      "    accepted: registryUser and registryPassword together, with registry or serverImage",
      "    fix:      pulumi config rm microsandbox:registryUser && pulumi config rm microsandbox:registryPassword",
    ].join("\n"),
  ],
  [
    { kvmCheck: "true" },
    [
      '  microsandbox:kvmCheck is "true"',
      "    accepted: off, device or boot",
      "    fix:      pulumi config set microsandbox:kvmCheck device",
    ].join("\n"),
  ],
  [
    { memoryLmit: "8G" },
    [
      "  microsandbox:memoryLmit is not a setting",
      "    accepted: memoryLimit (the closest name)",
      "    fix:      pulumi config set microsandbox:memoryLimit 8G && pulumi config rm microsandbox:memoryLmit",
    ].join("\n"),
  ],
  [
    { devMode: "no", logMaxSize: "100MB" },
    [
      '  microsandbox:devMode is "no"',
      "    accepted: true or false",
      "    fix:      pulumi config set microsandbox:devMode false",
      "",
      '  microsandbox:logMaxSize is "100MB"',
      "    accepted: a whole number with k, m or g, like 100m",
      "    fix:      pulumi config set microsandbox:logMaxSize 100m",
    ].join("\n"),
  ],
];

describe("wrong settings", () => {
  test.each(wrong)("%j", (given, blocks) => {
    expect(messageFor(given).split("\n\n").slice(1).join("\n\n").trimEnd()).toBe(blocks);
  });

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
    expect(message).toContain(`config set --path 'microsandbox:keys[0].hash' ${ci.hash}`);
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
