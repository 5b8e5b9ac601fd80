import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { testAuthority } from "../../harness/authority";
import { hashOf } from "../../harness/key-file";
import type { Registered } from "../../harness/pulumi-mocks";
import { build, type Case, container, deploy, only } from "./deployed";

const egressOf = (resources: Registered[]) => {
  const line: string = container(resources).envs.find((each: string) => each.startsWith("EGRESS="));
  return JSON.parse(line.slice("EGRESS=".length));
};

const issued = testAuthority().issue(["127.0.0.1"]);
const at = issued.indexOf("-----BEGIN CERTIFICATE");
const given = { key: issued.slice(0, at), certificate: issued.slice(at) };
const folder = mkdtempSync(join(tmpdir(), "microsandbox-given-"));
afterAll(() => rmSync(folder, { recursive: true }));
const files = { certificateFile: join(folder, "certificate"), keyFile: join(folder, "key") };
writeFileSync(files.certificateFile, given.certificate);
writeFileSync(files.keyFile, given.key);

describe("every setting of the server reaches its resource", () => {
  const cases: Case[] = [
    ["version", { version: "0.6.18" }, (r) => build(r).buildArgs.MICROSANDBOX_VERSION, "0.6.18"],
    [
      "versionSha256",
      { version: "0.7.9", versionSha256: { amd64: "a".repeat(64), arm64: "b".repeat(64) } },
      (r) => build(r).buildArgs.MICROSANDBOX_SHA256,
      "a".repeat(64),
    ],
    ["debianVersion", { debianVersion: "13.1" }, (r) => build(r).buildArgs.DEBIAN_VERSION, "13.1"],
    [
      "registryPrefix",
      { registryPrefix: "mirror.test/" },
      (r) => build(r).buildArgs.REGISTRY_PREFIX,
      "mirror.test/",
    ],
    ["architecture", {}, (r) => build(r).platform, "linux/amd64"],
    [
      "autoPullImages",
      { autoPullImages: false },
      (r) => container(r).envs,
      expect.arrayContaining(["AUTO_PULL_IMAGES=false"]),
    ],
    [
      "devMode",
      { devMode: false, apiKey: "k".repeat(40) },
      (r) => container(r).envs,
      expect.arrayContaining(["DEV_MODE=false"]),
    ],
    [
      "apiKey",
      { devMode: false, apiKey: "k".repeat(40) },
      (r) => JSON.stringify(only(r, "Command", "key-file").stdin),
      expect.stringContaining(hashOf("k".repeat(40))),
    ],
    [
      "keys",
      { devMode: false, keys: [{ id: "ci", hash: `sha256:${hashOf("k")}`, limits: { sandboxes: 3 } }] },
      (r) => JSON.stringify(only(r, "Command", "key-file").stdin),
      expect.stringMatching(new RegExp(`ci.*${hashOf("k")}.*sandboxes.*3`)),
    ],
    [
      "isolateByKey",
      { devMode: false, apiKey: "k".repeat(40), isolateByKey: true },
      (r) => container(r).envs,
      expect.arrayContaining(["OWN_SANDBOXES=true"]),
    ],
    [
      "the host's name, for a server without keys",
      { host: "ssh://me@host.test:2200", exposeDevMode: true, bindAddress: "0.0.0.0" },
      (r) => container(r).envs,
      expect.arrayContaining(["HOST_NAMES=host.test"]),
    ],
    [
      "timezone",
      { timezone: "Europe/Berlin" },
      (r) => container(r).envs,
      expect.arrayContaining(["TZ=Europe/Berlin"]),
    ],
    [
      "tls.generate",
      { tls: { generate: true } },
      (r) => container(r).envs,
      expect.arrayContaining([expect.stringMatching(/^TLS_FILE=/)]),
    ],
    [
      "tls.generate: a health check without",
      { tls: { generate: true } },
      (r) => container(r).healthcheck.tests.at(-1),
      "http://127.0.0.1:5554/readyz",
    ],
    [
      "tls.names",
      { tls: { generate: true, names: ["sandboxes.example.com"] } },
      (r) => only(r, "Command", "tls-certificate").stdin.value,
      expect.stringContaining("NAMES=IP:127.0.0.1,DNS:localhost,DNS:sandboxes.example.com"),
    ],
    [
      "tls.certificate and tls.key",
      { tls: { certificate: given.certificate, key: given.key } },
      (r) => only(r, "Command", "tls-file").stdin.value,
      expect.stringContaining(given.certificate.trim()),
    ],
    [
      "tls.certificateFile and tls.keyFile",
      { tls: files },
      (r) => only(r, "Command", "tls-file").stdin.value,
      expect.stringContaining(given.certificate.trim()),
    ],
    ["egress", { egress: "none" }, (r) => egressOf(r).level, "none"],
    [
      "egressAllow",
      { egressAllow: ["10.1.0.0/16", "*.example.com:443"] },
      (r) => egressOf(r).grants,
      [
        { destination: { cidr: "10.1.0.0/16" }, ports: [] },
        { destination: { domain_suffix: "example.com" }, ports: [{ start: 443, end: 443 }] },
      ],
    ],
    ["port", { port: 8080 }, (r) => container(r).ports[0].internal, 8080],
    [
      "port in the health check",
      { port: 8080 },
      (r) => container(r).healthcheck.tests.at(-1),
      "http://127.0.0.1:8080/readyz",
    ],
    ["hostPort", { hostPort: 6000 }, (r) => container(r).ports[0].external, 6000],
    ["bindAddress", { bindAddress: "127.0.0.2" }, (r) => container(r).ports[0].ip, "127.0.0.2"],
    ["cpuLimit", { cpuLimit: 2.5 }, (r) => container(r).cpuQuota, 250_000],
    ["cpuLimit, whole", { cpuLimit: 2 }, (r) => container(r).cpuQuota, 200_000],
    ["cpuReservation", { cpuReservation: 0.5 }, (r) => container(r).cpuShares, 512],
    ["memoryLimit", { memoryLimit: "2G" }, (r) => container(r).memory, 2048],
    ["no swap", { memoryLimit: "2G" }, (r) => container(r).memorySwap, 2048],
    ["memoryReservation", { memoryReservation: "512M" }, (r) => container(r).memoryReservation, 512],
    ["privileged", {}, (r) => container(r).privileged, true],
    ["unprivileged", { privileged: false }, (r) => container(r).privileged, false],
    [
      "unprivileged: no capability",
      { privileged: false },
      (r) => container(r).capabilities,
      { drops: ["ALL"] },
    ],
    ["unprivileged: not root", { privileged: false }, (r) => container(r).user, "5555:5555"],
    ["unprivileged: the group of /dev/kvm", { privileged: false }, (r) => container(r).groupAdds, ["106"]],
    [
      "unprivileged: /dev/kvm alone",
      { privileged: false },
      (r) => container(r).devices,
      [{ hostPath: "/dev/kvm", containerPath: "/dev/kvm", permissions: "rw" }],
    ],
    [
      "unprivileged: the volumes' files",
      { privileged: false },
      (r) => only(r, "Command", "volumes-files").stdin,
      expect.stringMatching(/export OWNER=5555\n[\s\S]*chown -h/),
    ],
    ["unprivileged: read-only root", { privileged: false }, (r) => container(r).readOnly, true],
    ["unprivileged options", { privileged: false }, (r) => container(r).securityOpts, ["no-new-privileges"]],
    [
      "upgradeCopies",
      { upgradeCopies: 7 },
      (r) => only(r, "Command", "upgrade-done").stdin,
      expect.stringContaining("KEEP=7"),
    ],
    [
      "the server's privileges in the trial of an upgrade",
      { privileged: false },
      (r) => only(r, "Command", "upgrade-trial").stdin,
      expect.stringMatching(
        /RUN_FLAGS='--device \/dev\/kvm .*--security-opt no-new-privileges --cap-drop ALL --user 5555:5555 .*--read-only/,
      ),
    ],
    [
      "the server's environment in the trial of an upgrade",
      { autoPullImages: false },
      (r) => only(r, "Command", "upgrade-trial").stdin,
      expect.stringContaining("--env AUTO_PULL_IMAGES=false"),
    ],
    [
      "kvmCheck boot in the trial of an upgrade",
      { kvmCheck: "boot" },
      (r) => only(r, "Command", "upgrade-trial").stdin,
      expect.stringContaining("export BOOT=1"),
    ],
    ["logMaxSize", { logMaxSize: "20m" }, (r) => container(r).logOpts["max-size"], "20m"],
    ["logMaxFiles", { logMaxFiles: 5 }, (r) => container(r).logOpts["max-file"], "5"],
    [
      "stopTimeout of the server",
      { stopTimeout: 30 },
      (r) => container(r).envs,
      expect.arrayContaining(["STOP_TIMEOUT_SECONDS=30"]),
    ],
    ["stopTimeout of the container is longer", { stopTimeout: 30 }, (r) => container(r).stopTimeout, 45],
    [
      "pidsLimit",
      { pidsLimit: 1000 },
      (r) => only(r, "Command", "pids-limit").stdin,
      expect.stringContaining("--pids-limit 1000"),
    ],
    [
      "volumes.state",
      { volumes: { state: "my-state" } },
      (r) => container(r).volumes[0].volumeName,
      "my-state",
    ],
    [
      "volumes.workspace",
      { volumes: { workspace: "work" } },
      (r) => container(r).volumes[1].volumeName,
      "work",
    ],
  ];
  it.each(cases)("%s", async (_name, args, read, expected) => {
    expect(read(await deploy(args))).toEqual(expected);
  });
});
