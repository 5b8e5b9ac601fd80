import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig } from "../../../../docker/gateway/src/device-plugin/config";
import { projectRoot } from "../../../../setup/project";
import { atFileEnd } from "../../../harness/file-end";
import { bundle, NodeProgram } from "../../../harness/gateway";
import { removeFolder } from "../../../harness/remove-folder";
import { FakeKubelet } from "./fake-kubelet";

const root = mkdtempSync(join(tmpdir(), "kvmp-"));
const script = join(root, "device-plugin.cjs");
atFileEnd(() => removeFolder(root));
beforeAll(() => bundle(join(projectRoot, "docker/gateway/src/device-plugin/main.ts"), script));
const programs: NodeProgram[] = [];
afterAll(async () => {
  for (const program of programs) await program.kill();
});

let runs = 0;
function launch(env: Record<string, string>) {
  const log = join(root, `log-${++runs}`);
  const program = NodeProgram.launch({ script, env, log });
  programs.push(program);
  return { program, said: () => (existsSync(log) ? readFileSync(log, "utf8") : "") };
}

test("the program registers, writes lines of JSON, and removes its socket at SIGTERM", async () => {
  const folder = join(root, "plugins");
  mkdirSync(folder);
  const device = join(root, "kvm");
  symlinkSync("/dev/null", device);
  const kubelet = new FakeKubelet(folder);
  await kubelet.start();
  const { program, said } = launch({
    ...{
      DEVICE_PLUGINS_FOLDER: folder,
      KVM_DEVICE: device,
      KVM_DEVICES: "7",
      KVM_RESOURCE: "example.org/kvm",
    },
  });
  await expect.poll(() => kubelet.count("Healthy"), { timeout: 30_000 }).toBe(7);
  const [registration] = kubelet.registrations;
  expect(registration?.resource_name).toBe("example.org/kvm");
  const socket = join(folder, registration?.endpoint ?? "");
  expect(existsSync(socket)).toBe(true);
  program.child.kill("SIGTERM");
  expect(await program.ended).toBe(0);
  expect(existsSync(socket)).toBe(false);
  const lines = said()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  for (const line of lines)
    expect(line).toEqual(
      expect.objectContaining({ level: 30, service: "device-plugin", time: expect.stringMatching(/Z$/) }),
    );
  expect(lines.at(-1)).toMatchObject({ msg: "stopped", signal: "SIGTERM" });
  kubelet.stop();
});

test.each([
  [
    "no folder of a kubelet",
    { DEVICE_PLUGINS_FOLDER: "/none/plugins" },
    "/none/plugins is not there. This program runs on a Kubernetes node",
  ],
  ["a file", { DEVICE_PLUGINS_FOLDER: "/etc/passwd" }, "/etc/passwd is no folder."],
  [
    "settings that are wrong",
    { KVM_RESOURCE: "kvm", KVM_DEVICES: "0" },
    "The device plugin's environment has 2 mistake(s):",
  ],
])("%s: a sentence, and no stack", async (_what, env, sentence) => {
  const { program, said } = launch(env);
  expect(await program.ended).toBe(1);
  expect(said()).toContain(sentence);
  expect(said()).not.toMatch(/^\s+at /m);
});

test("without the right to write: who may, and how to be it", () => {
  const folder = join(root, "read-only");
  mkdirSync(folder, { mode: 0o555 });
  chmodSync(root, 0o755);
  const owner = process.getuid?.() ?? 0;
  const { status, stderr } = spawnSync(process.execPath, [script], {
    env: { PATH: process.env.PATH, DEVICE_PLUGINS_FOLDER: folder },
    // Nothing is forbidden to root.
    ...(owner === 0 && { uid: 65_534, gid: 65_534 }),
    encoding: "utf8",
  });
  expect(status).toBe(1);
  expect(stderr).toBe(
    `User ${owner || 65_534} may not write in ${folder}: it belongs to user ${owner}, group ${process.getgid?.()}, mode 555.\n` +
      `Run the pod as its owner: securityContext.runAsUser: ${owner}. No capability is needed.\n`,
  );
});

const part = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const name = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?$/);
const resourceOf = (env: Record<string, string>) => readConfig(env).KVM_RESOURCE;

test("names of resources that a kubelet takes are taken, and no others", () => {
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), name, (parts, last) => {
      const domain = parts.join(".");
      expect(resourceOf({ KVM_RESOURCE: `${domain}/${last}` })).toBe(`${domain}/${last}`);
      for (const wrong of [
        ...[
          last,
          `/${last}`,
          `${domain}/`,
          `${domain}/${last}/x`,
          `${domain}/-${last}`,
          `${domain}./${last}`,
        ],
        ...[`requests.${domain}/${last}`, `kubernetes.io/${last}`, `${domain}.kubernetes.io/${last}`],
        ...[`${domain}/${"x".repeat(64)}`, `${"a.".repeat(130)}a/${last}`, `${domain}/${last}\n`],
      ])
        expect(() => resourceOf({ KVM_RESOURCE: wrong }), wrong).toThrow("1 mistake(s)");
    }),
  );
});
