import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { readAdvice } from "../../../../cli/advice";
import { script } from "../../../../components/host/scripts";

/** Runs the script on a host of these files. */
function adviceFor(files: Record<string, string>): { what: string; remedy: string }[] {
  const root = mkdtempSync(join(tmpdir(), "advice-"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
    if (path === "dev/kvm") chmodSync(join(root, path), Number.parseInt(text, 8));
  }
  const stdout = execFileSync("sh", ["-s"], {
    input: script("host/host-advice"),
    env: { ...process.env, ADVICE_ROOT: root },
    encoding: "utf8",
  });
  rmSync(root, { recursive: true });
  return readAdvice(stdout);
}

const careful = {
  "sys/devices/system/cpu/smt/active": "0\n",
  "sys/kernel/mm/ksm/run": "0\n",
  "proc/swaps": "Filename Type Size\n",
  "sys/module/kvm_intel/parameters/nested": "N\n",
  "sys/devices/system/cpu/vulnerabilities/meltdown": "Mitigation: PTI\n",
  "sys/devices/system/cpu/vulnerabilities/l1tf": "Not affected\n",
  "dev/kvm": "660",
};

it("has nothing to say of a careful host, nor of one that tells nothing", () => {
  expect(adviceFor(careful)).toEqual([]);
  expect(adviceFor({})).toEqual([]);
});

it.each([
  ["sys/devices/system/cpu/smt/active", "1\n", /SMT .* is on/, /smt\/control/],
  ["sys/kernel/mm/ksm/run", "1\n", /KSM/, /ksm\/run/],
  ["proc/swaps", "Filename Type Size\n/dev/sda2 partition 1\n", /Swap is on/, /swapoff -a/],
  ["sys/module/kvm_intel/parameters/nested", "Y\n", /Nested virtualization is on/, /kvm_intel nested=0/],
  ["sys/module/kvm_amd/parameters/nested", "1\n", /Nested virtualization is on/, /kvm_amd nested=0/],
  ["sys/devices/system/cpu/vulnerabilities/l1tf", "Vulnerable\n", /vulnerable to: l1tf\./, /microcode/],
  ["dev/kvm", "666", /mode 666/, /chmod 660/],
])("%s", (path, text, what, remedy) => {
  const advice = adviceFor({ ...careful, [path]: text });
  expect(advice).toEqual([{ what: expect.stringMatching(what), remedy: expect.stringMatching(remedy) }]);
});
