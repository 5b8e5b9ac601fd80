import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readSettings } from "../../../cli/settings";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-settings-test-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, "Pulumi.dev.yaml");
writeFileSync(file, "config: {}\n");

const answer = JSON.stringify({
  "microsandbox:host": { value: "ssh://root@kvm.test", secret: false },
  "microsandbox:tls": { value: '{"key":"k"}', secret: true, objectValue: { key: "k" } },
  "microsandbox:apiKey": { secret: true },
  "docker:host": { value: "unix:///x", secret: false },
});
const settings = {
  values: { host: "ssh://root@kvm.test", tls: '{"key":"k"}', apiKey: undefined },
  secret: ["tls", "apiKey"],
};

it("are those that Pulumi tells, whatever the file says: of the project and its environments too", async () => {
  const asked: string[][] = [];
  const read = async (args: string[]) => {
    asked.push(args);
    return answer;
  };
  expect(await readSettings("dev", file, { read })).toEqual(settings);
  expect(asked).toEqual([["config", "--json", "--show-secrets", "--stack", "dev"]]);
});

it("of a stack that was never deployed are asked in a copy, of which nothing is left", async () => {
  const asked: { words: string[]; backend?: string }[] = [];
  const read = async (words: string[], variables?: Record<string, string>) => {
    asked.push({ words, backend: variables?.PULUMI_BACKEND_URL });
    if (!variables) throw new Error("error: no stack named 'dev' found");
    const copy = words.at(-1) ?? "";
    expect([existsSync(join(copy, "Pulumi.yaml")), existsSync(join(copy, "Pulumi.dev.yaml"))]).toEqual([
      true,
      true,
    ]);
    return words[0] === "config" ? answer : "";
  };
  expect(await readSettings("org/microsandbox/dev", file, { read })).toEqual(settings);
  expect(asked.map(({ words: [first] }) => first)).toEqual(["config", "stack", "config"]);
  const [, made] = asked;
  expect(made?.words.slice(0, 4)).toEqual(["stack", "init", "--no-select", "dev"]);
  expect(existsSync(made?.words.at(-1) ?? "/")).toBe(false);
});

it("are not asked elsewhere where pulumi fails for another reason", async () => {
  const read = () => Promise.reject(new Error("error: incorrect passphrase"));
  await expect(readSettings("dev", file, { read })).rejects.toThrow("incorrect passphrase");
});
