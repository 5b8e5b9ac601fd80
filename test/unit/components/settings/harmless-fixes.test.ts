import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkSettings } from "../../../../components/settings/checks";
import { explainErrors } from "../../../../components/settings/setting-errors";

const hash = `sha256:${"0".repeat(64)}`;
const good = {
  keys: ["ci", "bob"].map((id) => ({ id, hash })),
  registries: {
    mirrors: { "docker.io": "mirror.test/hub/" },
    plainHttp: ["localhost:5000"],
    logins: { "ghcr.io": { username: "bot", password: "hunter2" } },
  },
  tls: { names: ["a.test", "b.test"], generate: true },
  hosts: { default: { registries: { logins: { "ghcr.io": { username: "bot", password: "hunter2" } } } } },
} as const;

/** All leaves of a value, by path. */
function leaves(value: unknown, path: (string | number)[] = []): { path: (string | number)[] }[] {
  if (typeof value !== "object" || value === null) return [{ path }];
  const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return entries.flatMap(([name, part]) => leaves(part, [...path, name]));
}

/** A copy with another value at a path. */
function changed(value: unknown, [name, ...rest]: (string | number)[], leaf: unknown): unknown {
  if (name === undefined) return leaf;
  const copy = structuredClone(value) as Record<string | number, unknown>;
  copy[name] = changed(copy[name], rest, leaf);
  return copy;
}

const fixes = (raw: Record<string, unknown>, secrets: string[]) =>
  explainErrors(checkSettings(raw, secrets).errors, { stack: "prod" }).match(/(?<=fix: {6}).*/g) ?? [];

describe("one wrong value among keys, logins and certificates", () => {
  const name = fc.constantFrom("keys", "registries", "tls", "hosts");
  const cases = name.chain((key) =>
    fc.tuple(
      fc.constant(key),
      fc.constantFrom(...leaves(good[key])),
      fc.constantFrom("a b\n", 7.5, null, ["x"]),
    ),
  );

  test("is never mended by a line that removes more than that value, secret or not", () => {
    fc.assert(
      fc.property(cases, fc.boolean(), ([key, { path }, leaf], isSecret) => {
        const raw = { [key]: changed(good[key], path, leaf) };
        for (const line of fixes(raw, isSecret ? [key] : [])) {
          for (const [, removed] of line.matchAll(/config rm (?:--path )?('[^']*'|\S+)/g)) {
            // A setting that is written anew in the same line loses nothing; one with a secret in it can't be.
            if (key === "tls" && !isSecret && line.includes("config set")) continue;
            expect(removed, line).toMatch(/\.|\[/);
            const isSecretAbove = /(keys|registries|tls|hosts|default|logins|ghcr\.io"\])'?$/.test(
              removed ?? "",
            );
            expect(isSecretAbove, line).toBe(false);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("is named by its path", () => {
    const { registries, keys } = good;
    expect(fixes({ registries: { ...registries, mirrors: { "docker.io": "m.test" } } }, [])).toEqual([
      `pulumi config rm --path 'microsandbox:registries.mirrors["docker.io"]' --stack prod`,
    ]);
    expect(fixes({ tls: { ...good.tls, names: ["a.test", "b c"] } }, ["tls"])).toEqual([
      "pulumi config rm --path 'microsandbox:tls.names[1]' --stack prod",
    ]);
    expect(fixes({ keys: [keys[0], { ...keys[1], expires: "2027-01-31" }] }, ["keys"])).toEqual([
      "pulumi config get microsandbox:keys --stack prod > keys.json, correct [1].expires in it, " +
        "then: pulumi config set --secret microsandbox:keys --stack prod < keys.json && rm keys.json",
    ]);
  });

  test("of a list, the last comes first, so that removing one does not move the next", () => {
    const images = ["a b", "alpine", "c d"];
    expect(fixes({ images }, ["images"]).map((line) => /\[\d\]/.exec(line)?.[0])).toEqual(["[2]", "[0]"]);
  });

  test("a misspelt name keeps what can't be shown: it is renamed in the stack's file", () => {
    expect(fixes({ kys: good.keys, apiKy: "x" }, ["kys", "apiKy"])).toEqual([
      "rename kys to keys in Pulumi.prod.yaml",
      "rename apiKy to apiKey in Pulumi.prod.yaml",
    ]);
    expect(fixes({ registries: { logns: good.registries.logins } }, [])).toEqual([
      "rename logns to logins in registries in Pulumi.prod.yaml",
    ]);
    expect(fixes({ registris: { plainHttp: ["x".repeat(300)] } }, [])).toEqual([
      "rename registris to registries in Pulumi.prod.yaml",
    ]);
  });

  test("JSON text that can't be read is not shown, and not removed", () => {
    const { errors } = checkSettings({ registries: '{"logins":{"ghcr.io":{"password":"hunter2"}}' });
    const message = explainErrors(errors, { stack: "prod" });
    expect(message).not.toContain("hunter2");
    expect(message).toContain("correct the JSON text in it");
    expect(message).not.toContain("config rm");
  });

  test("half of a registry's login is asked for", () => {
    expect(fixes({ registry: "r.test", registryPassword: "x" }, ["registryPassword"])).toEqual([
      "pulumi config set microsandbox:registryUser --stack prod",
    ]);
    const logins = { "ghcr.io": { username: "bot" } };
    expect(fixes({ registries: { logins } }, [])).toEqual([
      `pulumi config set --secret --path 'microsandbox:registries.logins["ghcr.io"].password' --stack prod`,
    ]);
  });

  test("hosts without `default` are given the name, not the permission to remove the server", () => {
    expect(fixes({ hosts: { a: {} } }, [])).toEqual([
      "give the host that the stack already has the name default in Pulumi.prod.yaml",
    ]);
  });
});
