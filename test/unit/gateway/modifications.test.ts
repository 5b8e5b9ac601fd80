import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { TestGateway } from "./harness";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await TestGateway.start();
});

const secrets = (...names: string[]) => ({
  entries: names.map((env_var) => ({
    ...{ env_var, value: "hush-old", allowed_hosts: [{ type: "exact", value: "a.example" }] },
  })),
});

let count = 0;
/** A running sandbox with those secrets: its id, and what plans and applies a change of it. */
async function sandbox(...names: string[]) {
  const name = `box-${count++}`;
  const { body } = await gateway.create(name, { network: { enabled: true, secrets: secrets(...names) } });
  expect(body.status).toBe("running");
  const { id } = body;
  return {
    ...{ id, name },
    plan: (change: object) => gateway.post(`/v1/sandboxes/${id}/modifications/plan`, change),
    apply: (change: object) => gateway.request("PUT", `/v1/sandboxes/${id}`, { body: change }),
  };
}

/** Every modify that msb was asked for, a line each. */
function asked(): string[] {
  const log = join(gateway.home, "fake", "modifies.log");
  return existsSync(log) ? readFileSync(log, "utf8").split("\n").filter(Boolean) : [];
}

const refusal = (code: string) => ({ status: 409, body: { error: { code: `modification_${code}` } } });

describe("secrets of a sandbox that is made", () => {
  test("are removed, as the plan has told, and the plan changes nothing", async () => {
    const { name, plan, apply } = await sandbox("A_KEY", "B_KEY");
    const removed = {
      kind: "secret",
      field: "secret",
      name: "A_KEY",
      change: "removed",
      disposition: "live",
    };
    const told = { sandbox: name, status: "running", policy: "no_restart", conflicts: [], warnings: [] };
    const change = { secrets_remove: ["A_KEY", "NONE"] };
    for (let round = 0; round < 2; round++)
      expect(await plan(change)).toMatchObject({
        status: 200,
        body: { ...told, applied: false, changes: [removed] },
      });
    expect(await apply(change)).toMatchObject({
      status: 200,
      body: { ...told, applied: true, changes: [removed] },
    });
    expect(await apply(change)).toMatchObject({ status: 200, body: { ...told, applied: true, changes: [] } });
    expect((await apply({})).body).toMatchObject({ ...told, applied: true, changes: [] });
  });

  test("are removed at the next start where that is asked for", async () => {
    const { plan, apply } = await sandbox("A_KEY");
    const change = { policy: "next_start", secrets_remove: ["A_KEY"] };
    const told = { policy: "next_start", changes: [{ name: "A_KEY", disposition: "next_start" }] };
    expect((await plan(change)).body).toMatchObject({ ...told, applied: false });
    expect((await apply(change)).body).toMatchObject({ ...told, applied: true });
  });

  test("what needs a restart is refused: by its policy, or because this server restarts nothing for it", async () => {
    const { plan, apply, id } = await sandbox("A_KEY");
    const file = join(gateway.home, "fake", "no-live-secrets");
    writeFileSync(file, "");
    try {
      const change = { secrets_remove: ["A_KEY"] };
      expect((await plan(change)).body).toMatchObject({ changes: [{ disposition: "requires_restart" }] });
      expect(await apply(change)).toMatchObject(refusal("refused"));
      expect(await apply({ ...change, policy: "restart" })).toMatchObject(refusal("unsupported"));
      expect((await plan({ ...change, policy: "restart" })).body).toMatchObject({ policy: "restart" });
    } finally {
      rmSync(file);
    }
    expect(
      asked().filter(
        (line) => line.includes(id) && line.includes("--restart") && !line.includes("--dry-run"),
      ),
    ).toEqual([]);
    expect(await apply({ policy: "restart", secrets_remove: ["A_KEY"] })).toMatchObject({
      status: 200,
      body: { policy: "restart", applied: true },
    });
  });

  test("a value is refused, and is nowhere then", async () => {
    const { plan, apply } = await sandbox("A_KEY");
    const before = asked().length;
    const allowed_hosts = [{ type: "exact", value: "b.example" }];
    for (const name of ["A_KEY", "NEW", "PATH", "LD_PRELOAD", "MSB_HOME"]) {
      const answer = await apply({ secrets: [{ name, value: "hush-hush-new", allowed_hosts }] });
      expect(answer).toMatchObject(refusal("unsupported"));
      expect(JSON.stringify(answer.body)).not.toContain("hush");
      expect(
        await plan({ secrets: [{ name, material: { type: "provided" }, allowed_hosts }] }),
      ).toMatchObject(refusal("unsupported"));
    }
    for (const change of [{ allowed_hosts }, { placeholder: "$X" }, { require_tls_identity: false }]) {
      expect(await apply({ secrets: [{ name: "A_KEY", ...change }] })).toMatchObject(refusal("unsupported"));
      const material = { type: "absent" };
      expect(await plan({ secrets: [{ name: "A_KEY", material, ...change }] })).toMatchObject(
        refusal("unsupported"),
      );
    }
    // Nothing of a change is made where a part of it can't be.
    const both = {
      secrets: [{ name: "NEW", value: "hush-hush-new", allowed_hosts }],
      secrets_remove: ["A_KEY"],
    };
    expect(await apply(both)).toMatchObject(refusal("unsupported"));
    expect(asked()).toHaveLength(before);
    const files = (readdirSync(gateway.home, { recursive: true }) as string[]).map((file) =>
      join(gateway.home, file),
    );
    for (const file of files.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile()))
      expect(readFileSync(file, "utf8")).not.toContain("hush-hush-new");
  });

  test("only what is made and rests can be changed", async () => {
    const unmade = (await gateway.create("unmade", {}, "start=false")).body.id;
    const change = { secrets_remove: ["A_KEY"] };
    const apply = (id: string) => gateway.request("PUT", `/v1/sandboxes/${id}`, { body: change });
    expect(await apply(unmade)).toMatchObject(refusal("refused"));
    const starts = (await gateway.create("starts", { reference: "slow-3" }, "start=true")).body.id;
    expect(await apply(starts)).toMatchObject(refusal("in_progress"));
    expect((await apply("11111111-1111-4111-8111-111111111111")).status).toBe(404);
    await gateway.delete(`/v1/sandboxes/${starts}`);
  });

  test("one change at a time", async () => {
    const { apply } = await sandbox("A_KEY");
    const file = join(gateway.home, "fake", "slow-modify");
    writeFileSync(file, "");
    const answers = await Promise.all([1, 2, 3].map(() => apply({ secrets_remove: ["A_KEY"] })));
    rmSync(file);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    for (const answer of answers)
      if (answer.status === 409) {
        expect(answer).toMatchObject(refusal("in_progress"));
        expect(answer.headers.get("retry-after")).not.toBeNull();
      }
  });

  test("whatever a name is, it is one argument", async () => {
    const { id, plan } = await sandbox("A_KEY");
    const name = fc.oneof(
      fc.constantFrom("--restart", "-h", "--secret=X@a.example", "A_KEY,B_KEY", "$(id)", " ", "'\"", "\n"),
      fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" }),
    );
    await fc.assert(
      fc.asyncProperty(name, async (given) => {
        const answer = await plan({ secrets_remove: [given] });
        if (given.includes("=") || given.includes("\0")) {
          expect(answer.status).toBe(400);
          return;
        }
        expect(answer).toMatchObject({ status: 200, body: { applied: false, changes: [] } });
        const log = readFileSync(join(gateway.home, "fake", "modifies.log"), "utf8");
        expect(log.endsWith(`--dry-run --secret-rm=${given} --format json -- ${id}\n`)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });
});

describe("a change is taken as it is written, or refused", () => {
  const whole = {
    policy: "no_restart",
    secrets: [
      {
        name: "A_KEY",
        placeholder: "$A",
        allowed_hosts: [{ type: "any" }],
        substitution: { headers: true, header_fields: ["authorization"], query: false, body: false },
        passthrough_hosts: [],
        violation_action: { type: "block" },
        require_tls_identity: true,
      },
    ],
    secrets_remove: [],
  };
  const entry = whole.secrets[0] as (typeof whole.secrets)[number];
  const without = { ...whole, secrets: [] };

  test("unknown fields, on whatever level, whether they are set or not", async () => {
    const { plan, apply } = await sandbox();
    expect(await apply(whole)).toMatchObject(refusal("unsupported"));
    const spoiled = (extra: object) => [
      { ...whole, ...extra },
      { ...without, ...extra },
      { ...whole, secrets: [{ ...entry, ...extra }] },
      { ...whole, secrets: [{ ...entry, substitution: { ...entry.substitution, ...extra } }] },
      { ...whole, secrets: [{ ...entry, violation_action: { type: "block", ...extra } }] },
    ];
    const extra = fc.record({
      key: fc.constantFrom("cpus", "memory_mib", "env", "labels", "source", "header_field", "policies"),
      value: fc.constantFrom(null, false, "", 0, [], {}, "x", [1]),
    });
    await fc.assert(
      fc.asyncProperty(extra, async ({ key, value }) => {
        for (const body of spoiled({ [key]: value })) {
          expect((await apply(body)).status, JSON.stringify(body)).toBe(400);
          const planned = {
            ...body,
            secrets: body.secrets.map((each) => ({ ...each, material: { type: "absent" } })),
          };
          expect((await plan(planned)).status, JSON.stringify(planned)).toBe(400);
        }
      }),
      { numRuns: 15 },
    );
  });

  test.each<[string, object]>([
    ["a policy that there is not", { policy: "NoRestart" }],
    ["a name with =", { secrets_remove: ["A=B"] }],
    ["no name", { secrets: [{ value: "x" }] }],
    ["an empty value", { secrets: [{ name: "A", value: "" }] }],
    ["too many", { secrets_remove: Array.from({ length: 65 }, (_, index) => `A${index}`) }],
    ["an action of older clients", { secrets: [{ ...entry, violation_action: { type: "passthrough" } }] }],
  ])("%s", async (_what, change) => {
    const { apply } = await sandbox();
    expect((await apply(change)).status).toBe(400);
  });

  test("a value belongs into no plan", async () => {
    const { plan } = await sandbox();
    const answer = await plan({ secrets: [{ name: "A", value: "hush", material: { type: "provided" } }] });
    expect(answer.status).toBe(400);
    expect(JSON.stringify(answer.body)).not.toContain("hush");
  });
});
