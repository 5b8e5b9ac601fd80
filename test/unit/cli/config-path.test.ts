import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { openForPaths, pathChange } from "../../../cli/config-path";

const folder = mkdtempSync(join(tmpdir(), "microsandbox-config-path-"));
const file = join(folder, "Pulumi.dev.yaml");
afterAll(() => rmSync(folder, { recursive: true }));

describe("which settings are changed by a path", () => {
  it.each<[string, ReturnType<typeof pathChange>]>([
    ["config set --path volumes.keep false", { settings: ["volumes"] }],
    ["config set --path microsandbox:volumes.keep false -s prod", { settings: ["volumes"], stack: "prod" }],
    ["config set --stack=prod --path --secret tls.key", { settings: ["tls"], stack: "prod" }],
    [
      'config set --stack a.b registries.logins["ghcr.io"].username --path x',
      { settings: ["registries"], stack: "a.b" },
    ],
    ["config rm --path hosts.west", { settings: ["hosts"] }],
    [
      "config set-all --path --plaintext limits.cpus=2 --plaintext images[0]=a",
      { settings: ["limits", "images"] },
    ],
    ["config set --path hostPort 6000", { settings: [] }],
    ["config set volumes.keep false", undefined],
    ["config get --path volumes.keep", undefined],
    ["up --path volumes.keep", undefined],
  ])("%s", (line, expected) => {
    expect(pathChange(line.split(" "))).toEqual(expected);
  });
});

describe("a setting that a path goes into", () => {
  const text = [
    "# the stack of the team",
    "config:",
    `  microsandbox:volumes: '{"state":"mine","keep":true}' # kept`,
    `  microsandbox:images: '["alpine:3.22"]'`,
    '  microsandbox:hostPort: "6000"',
    "  microsandbox:limits: { sandboxes: 3 }",
    "  microsandbox:registries: { secure: v1:abc }",
    "  microsandbox:timezone: Europe/Berlin",
    "",
  ].join("\n");

  it("is made YAML where it is JSON text, with all of its fields; the rest of the file stays", () => {
    writeFileSync(file, text);
    expect(openForPaths(file, ["volumes", "images", "hostPort", "limits", "absent"])).toEqual([
      "volumes",
      "images",
    ]);
    const written = readFileSync(file, "utf8");
    expect(parse(written).config).toEqual({
      ...parse(text).config,
      "microsandbox:volumes": { state: "mine", keep: true },
      "microsandbox:images": ["alpine:3.22"],
    });
    expect(written).toContain("# the stack of the team");
    expect(openForPaths(file, ["volumes"]), "once").toEqual([]);
    expect(readFileSync(file, "utf8")).toBe(written);
  });

  it("is refused where it is encrypted as a whole, and nothing is written", () => {
    writeFileSync(file, text);
    expect(() => openForPaths(file, ["volumes", "registries"])).toThrow(
      /registries is encrypted as a whole[\s\S]*Nothing was changed[\s\S]*config set --secret registries/,
    );
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  it("is no matter where the stack has no file yet", () => {
    expect(openForPaths(join(folder, "none"), ["volumes"])).toEqual([]);
  });
});
