import { setAllConfig } from "@pulumi/pulumi/runtime/config";
import { afterEach, describe, expect, test } from "vitest";
import { parseSettings } from "../../../../components/settings/parse-settings";
import type { SettingsInput } from "../../../../components/settings/schema";
import { readStackSettings } from "../../../../components/stack-settings";
import { settingsTable } from "../../../../docs/settings-table";

const GIB = 1024 ** 3;

describe("good settings", () => {
  test("defaults are those of the compose stack", () => {
    expect(parseSettings({})).toMatchObject({
      version: "0.7.11",
      debianVersion: "13.2-slim",
      registryPrefix: "",
      autoPullImages: true,
      devMode: true,
      exposeDevMode: false,
      port: 5555,
      hostPort: 5555,
      bindAddress: "127.0.0.1",
      timezone: "UTC",
      cpuLimit: 4,
      cpuReservation: 1,
      memoryLimit: 4 * GIB,
      memoryReservation: GIB,
      host: "local",
      emulatedMemory: 6 * GIB,
      emulatedDisk: 20 * GIB,
      architecture: "auto",
      privileged: true,
      images: [],
      volumes: { keep: true },
      kvmCheck: "device",
      stopTimeout: 60,
      pidsLimit: 4096,
      logMaxSize: "100m",
      logMaxFiles: 3,
    });
  });

  test.each<[string, unknown, unknown]>([
    ["version", "0.8.0-rc.1", "0.8.0-rc.1"],
    ["registryPrefix", "localhost:5000/", "localhost:5000/"],
    ["registryPrefix", "registry.example.com/a/b/", "registry.example.com/a/b/"],
    ["devMode", "false", false],
    ["hostPort", "65535", 65535],
    ["hostPort", 1, 1],
    ["bindAddress", "::1", "::1"],
    ["bindAddress", "127.1.2.3", "127.1.2.3"],
    ["timezone", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"],
    ["timezone", "Etc/GMT+3", "Etc/GMT+3"],
    ["cpuLimit", "1.5", 1.5],
    ["cpuReservation", "0.5", 0.5],
    ["memoryLimit", "1.5g", 1.5 * GIB],
    ["memoryLimit", "2048m", 2 * GIB],
    ["memoryLimit", "8GiB", 8 * GIB],
    ["memoryLimit", 2 * GIB, 2 * GIB],
    ["host", "ssh://root@10.1.2.3", "ssh://root@10.1.2.3"],
    ["host", "ssh://me@kvm.example.com:2222", "ssh://me@kvm.example.com:2222"],
    ["host", "ssh://root@[fe80::1]:22", "ssh://root@[fe80::1]:22"],
    ["sshKeyFile", "~/.ssh/my key", "~/.ssh/my key"],
    ["sshKeyFile", "", undefined],
    ["images", '["alpine:3.22"]', ["alpine:3.22"]],
    ["images", [`registry.example.com:5000/a/b@sha256:${"0".repeat(64)}`], expect.any(Array)],
    ["volumes", '{"keep":"false","state":"msb"}', { keep: false, state: "msb" }],
    ["versionSha256", { amd64: "a".repeat(64) }, { amd64: "a".repeat(64) }],
    ["kvmCheck", "false", "off"], // what YAML makes of `kvmCheck: off`
    ["warm", '[{"image":"starter","count":2}]', [{ image: "starter", count: 2, cpus: 1, memoryMiB: 512 }]],
    ["logMaxSize", "1g", "1g"],
  ])("%s takes %j", (key, given, parsed) => {
    expect(parseSettings({ [key]: given })).toMatchObject({ [key]: parsed });
  });

  test("a reservation that was not asked for follows a lower limit", () => {
    const settings = parseSettings({ cpuLimit: "0.5", memoryLimit: "512M" });
    expect(settings).toMatchObject({ cpuReservation: 0.5, memoryReservation: GIB / 2 });
  });

  test.each<SettingsInput>([
    { devMode: false, bindAddress: "0.0.0.0", exposeHttp: true },
    { devMode: false, bindAddress: "0.0.0.0", tls: { generate: true } },
    { exposeDevMode: true, bindAddress: "0.0.0.0" },
    { host: "emulated", emulatedMemory: "4G", memoryLimit: "4G" },
    { host: "local", emulatedMemory: "4G", memoryLimit: "8G" },
    { cpuLimit: 2, cpuReservation: 2, memoryLimit: "1G", memoryReservation: "1G" },
  ])("settings that go together: %j", (args) => {
    expect(() => parseSettings(args)).not.toThrow();
  });
});

describe("the stack's configuration", () => {
  afterEach(() => setAllConfig({}));

  test("is read below the namespace, with JSON for lists and objects", () => {
    setAllConfig({
      "microsandbox:hostPort": "8080",
      "microsandbox:images": '["alpine:3.22"]',
      "other:hostPort": "1",
    });
    expect(readStackSettings().hosts.default).toMatchObject({
      hostPort: 8080,
      port: 5555,
      images: ["alpine:3.22"],
    });
  });

  test("errors name the stack's own line; values stored as secrets stay hidden", () => {
    setAllConfig({ "microsandbox:hostPort": "hunter2", "microsandbox:pot": "hunter3" }, [
      "microsandbox:hostPort",
      "microsandbox:pot",
    ]);
    expect(readStackSettings).toThrow(/config set microsandbox:hostPort 5555 --stack \S+/);
    expect(readStackSettings).not.toThrow(/hunter/);
  });
});

describe("the settings table", () => {
  const rows = settingsTable();

  test.each(rows)("$key is described, and its example is accepted", ({ key, type, description, example }) => {
    expect(description).toMatch(/^[A-Z].*\.$/);
    expect(type).not.toBe("");
    expect(key).not.toMatch(/\.$/);
    if (key.includes(".") || example.includes("…")) return;
    const login = { registry: "r.test", registryUser: "me", registryPassword: "secret" };
    const others = {
      devMode: !["bindAddress", "isolateByKey", "cluster"].includes(key),
      exposeHttp: true,
      ...(key === "cluster" && { serverImage: `r.test/server@sha256:${"0".repeat(64)}` }),
      ...(["registryUser", "registryPassword"].includes(key) && login),
    };
    const fit = key === "production" ? { devMode: false, privileged: false, kvmCheck: "boot" } : {};
    expect(() => parseSettings({ ...others, ...fit, [key]: example })).not.toThrow();
  });

  test("defaults are what an empty configuration means", () => {
    const defaults = rows.filter((row) => row.default !== "" && !row.key.includes("."));
    const typed = Object.fromEntries(defaults.map((row) => [row.key, row.default]));
    expect(parseSettings(typed)).toEqual(parseSettings({}));
  });
});
