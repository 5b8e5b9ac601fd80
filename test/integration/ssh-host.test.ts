import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exec } from "../../setup/exec";
import { Machine, noMachines } from "../harness/machine";
import { TestStack } from "../harness/stack";

const missing = noMachines();
if (missing) console.log(`a host over SSH not tested: ${missing}`);

const folder = mkdtempSync(join(tmpdir(), "microsandbox-ssh-"));
let machine: Machine;
let stack: TestStack;

beforeAll(async () => {
  if (missing) return;
  chmodSync(folder, 0o755);
  const { stdout: docker } = await exec("getent", ["group", "docker"]);
  const dockerGroup = Number(docker.split(":")[2]);
  machine = new Machine("test-ssh", 63, [
    { name: "nodocker", uid: 20001, gid: 20001, sshd: [`SetEnv PATH=${pathWithoutDocker()}`] },
    // Not root: those who are refused would come in by the connection that is open already.
    { name: "good", uid: 0, gid: 0 },
    { name: "visitor", uid: 20002, gid: 20002 },
    { name: "nokvm", uid: 0, gid: 0, sshd: [`ForceCommand ${withoutKvm()}`] },
    // B15: may use Docker, and not open /dev/kvm; the engine can.
    { name: "dockeronly", uid: 20003, gid: dockerGroup },
  ]);
  await machine.start();
  await exec("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, "other_key")]);
  const { stdout: key } = await exec("cat", [join(folder, "other_key.pub")]);
  writeFileSync(join(folder, "changed"), `${machine.address} ${key}\n`);
  stack = new TestStack("test-ssh", { privileged: false, volumes: { keep: false } });
});
afterAll(async () => {
  if (missing) return;
  await stack.remove();
  await machine.remove();
  rmSync(folder, { recursive: true });
});

/** All programs of this machine but docker. */
function pathWithoutDocker(): string {
  const path = join(folder, "bin");
  mkdirSync(path);
  for (const program of readdirSync("/usr/bin"))
    if (program !== "docker") symlinkSync(`/usr/bin/${program}`, join(path, program));
  return path;
}

/** A session that sees no /dev/kvm. */
function withoutKvm(): string {
  const file = join(folder, "without-kvm");
  const lines = [
    "#!/bin/sh",
    "exec unshare --mount sh -c 'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && exec sh -c \"$SSH_ORIGINAL_COMMAND\"'",
  ];
  writeFileSync(file, `${lines.join("\n")}\n`, { mode: 0o755 });
  return file;
}

/** A host for each thing that can be wrong, and how it is told. */
const wrong: Record<string, { host: (at: string) => string; files?: () => object; says: RegExp }> = {
  noroute: { host: (at) => `ssh://root@${at}:2`, says: /its SSH server can't be reached[\s\S]*refused/ },
  refused: {
    host: (at) => `ssh://root@${at}`,
    files: () => ({ sshKeyFile: join(folder, "other_key") }),
    says: /it rejects the SSH key[\s\S]*ssh-copy-id root@/,
  },
  unknown: {
    host: (at) => `ssh://root@${at}`,
    files: () => ({ sshKnownHostsFile: "/dev/null" }),
    says: /its host key is unknown or has changed/,
  },
  changed: {
    host: (at) => `ssh://root@${at}`,
    files: () => ({ sshKnownHostsFile: join(folder, "changed") }),
    says: /its host key is unknown or has changed/,
  },
  other: {
    host: (at) => `ssh://root@${at}`,
    files: () => ({
      sshHostKey: readFileSync(join(folder, "other_key.pub"), "utf8"),
      sshKnownHostsFile: undefined,
    }),
    says: /its host key is not the one in sshHostKey/,
  },
  nodocker: { host: (at) => `ssh://nodocker@${at}`, says: /\(docker-missing\)/ },
  visitor: {
    host: (at) => `ssh://visitor@${at}`,
    says: /\(no-permission\)\.\s+visitor may not use the Docker/,
  },
  nokvm: {
    host: (at) => `ssh://nokvm@${at}`,
    says: /KVM can't be used on this host[\s\S]*\/dev\/kvm is missing/,
  },
};

/** The hosts of the stack; each has a port of its own, being on one engine. */
function hosts(names: string[]): Record<string, object> {
  const entries = names.map((name, index) => {
    const { host, files } = wrong[name] ?? { host: (at: string) => `ssh://${name}@${at}`, files: undefined };
    const own = {
      host: host(machine.address),
      hostPort: 17650 + index,
      allowRemoval: index === 0,
      ...files?.(),
    };
    return [name, { ...machine.settings, ...own }] as const;
  });
  return Object.fromEntries(entries);
}

describe.skipIf(missing !== undefined)("a host over SSH that can't be used", () => {
  it("is told by `doctor`, with the reason, and by `up`, which makes nothing there", async () => {
    stack.configure({ hosts: hosts([...Object.keys(wrong), "good", "dockeronly"]) });
    const doctor = await stack.doctor();
    expect(doctor.exitCode).toBe(1);
    expect(doctor.output).toMatch(/✓ good: ssh:\/\/good@/);
    expect(doctor.output).toMatch(/✓ dockeronly: ssh:\/\/dockeronly@/);
    for (const [name, { says }] of Object.entries(wrong)) {
      const [, finding = ""] = doctor.output.split(`✗ ${name}: `);
      expect(finding.split(/\n[✓•✗]/)[0], name).toMatch(says);
    }

    stack.configure({ hosts: hosts(Object.keys(wrong)) });
    const { exitCode, output } = await stack.up();
    expect(exitCode).not.toBe(0);
    for (const [name, { says }] of Object.entries(wrong)) {
      const [, told = ""] = output.split("Diagnostics:")[1]?.split(`error: Host ${name}: `) ?? [];
      expect(told.split("error: Host")[0], name).toMatch(says);
    }
    expect(output, "no stack trace").not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
    expect(output).toContain(`not deployed: ${Object.keys(wrong).sort().join(", ")}`);
    const left =
      "docker ps --all --quiet; docker volume ls --quiet; docker images --quiet; docker network ls --quiet";
    expect((await machine.run(left)).split("\n"), "Docker's own three networks").toHaveLength(3);
  });
});
