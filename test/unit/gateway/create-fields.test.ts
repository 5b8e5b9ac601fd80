import { describe, expect, test } from "vitest";
import { z } from "zod";
import { planCreate } from "../../../docker/gateway/src/backends/msb/create-plan";
import { egressPolicy } from "../../../docker/gateway/src/backends/msb/egress";
import { ServiceError } from "../../../docker/gateway/src/errors";
import { readCreateRequest } from "../../../docker/gateway/src/http/create-request";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";

/**
 * Every field of the create body, found in its schema, reaches msb or is refused: it is changed in a body that
 * has all of them, and the plan has to change with it. A new field fails here until a body below holds it.
 */

const host = (value: string) => ({ type: "exact", value });
const options = { readonly: true, noexec: true, nosuid: true, nodev: true };
const owner = { override_uid: 1, override_gid: 1 };

/** Together they hold every field that has an effect. */
const bodies = [
  {
    ...{ name: "all", slug: "all-of-it", source: "oci", reference: "starter", pull_policy: "always" },
    resources: { vcpus: 2, memory_mib: 256, disk_size_mib: 512 },
    runtime: {
      ...{ workdir: "/w", shell: "/bin/sh", scripts: { go: "x" }, entrypoint: ["/e"], cmd: ["c"] },
      ...{ user: "me", log_level: "info", hostname: "h" },
    },
    env: [{ key: "A", value: "b" }],
    labels: { a: "b" },
    rlimits: [{ resource: "nofile", soft: 1, hard: 2 }],
    mounts: [
      {
        type: "named",
        name: "data",
        guest: "/d",
        options: { ...options, ...owner },
        stat_virtualization: "off",
        host_permissions: "mirror",
      },
      { type: "tmpfs", guest: "/t", size_mib: 8, options },
    ],
    patches: [
      { type: "text", path: "/a", content: "x", mode: 1, replace: true },
      { type: "file", path: "/a", content: [1], mode: 1, replace: true },
      { type: "symlink", target: "/a", link: "/l", replace: true },
      { type: "mkdir", path: "/m", mode: 1 },
      { type: "remove", path: "/r" },
      { type: "append", path: "/a", content: "x" },
    ],
    network: {
      ...{ enabled: true, strict: false, max_connections: 4, max_udp_connections: 4 },
      policy: {
        ...{ default_egress: "deny", default_ingress: "deny" },
        rules: [
          { cidr: "10.0.0.0/8" },
          { domain: "a.test" },
          { domain_suffix: "a.test" },
          { group: "public" },
          "any",
        ].map((destination) => ({
          ...{ direction: "egress", destination, action: "allow" },
          ...{ protocols: ["tcp"], ports: [{ start: 1, end: 9 }] },
        })),
      },
      secrets: {
        violation_action: { type: "block" },
        entries: [
          {
            ...{ env_var: "S", value: "v", placeholder: "p", require_tls_identity: false },
            allowed_hosts: [host("a.test"), { type: "wildcard", value: "*.a.test" }],
            passthrough_hosts: [host("b.test"), { type: "wildcard", value: "*.b.test" }],
            substitution: { headers: true, header_fields: ["X-A"], query: true, body: true },
            violation_action: {
              type: "passthrough",
              hosts: [host("c.test"), { type: "wildcard", value: "*.c.test" }],
            },
          },
        ],
      },
    },
    init: { cmd: "auto", args: ["a"], env: [["a", "b"]] },
    security_profile: "restricted",
    lifecycle: { ephemeral: true, max_duration_secs: 9, idle_timeout_secs: 9 },
    registry: { mode: "inline", username: "u", password: "p" },
  },
  {
    ...{ name: "old", image: { type: "oci", reference: "starter" } },
    network: {
      max_tcp_connections: 4,
      secrets: {
        on_violation: { type: "block" },
        passthrough_hosts: [host("d.test"), { type: "wildcard", value: "*.d.test" }],
        entries: [
          { env_var: "T", value: "v", allowed_hosts: [host("a.test")] },
          {
            ...{ env_var: "S", value: "v", allowed_hosts: [host("a.test")] },
            injection: { headers: true, basic_auth: true, query_params: false, body: false },
            on_violation: {
              type: "passthrough",
              hosts: [host("c.test"), { type: "wildcard", value: "*.c.test" }],
            },
          },
        ],
      },
    },
  },
  { name: "short", image: "starter" },
];

/** Fields that no body can hold beside the others: what is sent, and whether it is refused. */
const special: Record<string, [change: object, refused: boolean]> = {
  "mounts[]<bind>": [{ mounts: [{ type: "bind", host: "/a", guest: "/b" }] }, true],
  "mounts[]<disk_image>": [{ mounts: [{ type: "disk_image", host: "/a", guest: "/b" }] }, true],
  "mounts[]<owned>": [{ mounts: [{ type: "owned", guest: "/b" }] }, true],
  "patches[]<copy_file>": [{ patches: [{ type: "copy_file", src: "/a", dst: "/b" }] }, true],
  "patches[]<copy_dir>": [{ patches: [{ type: "copy_dir", src: "/a", dst: "/b" }] }, true],
  "registry<specific>": [{ registry: { mode: "specific" } }, true],
  "registry<anonymous>": [{ registry: { mode: "anonymous" } }, false],
  "network.secrets.entries[].source.type": [
    { network: { secrets: { entries: [{ env_var: "A", source: { type: "env", var: "PATH" } }] } } },
    true,
  ],
  "network.secrets.violation_action.hosts[]<any>": [
    { network: { secrets: { entries: [], violation_action: { type: "passthrough", hosts: [] } } } },
    true,
  ],
};
for (const id of ["override_uid", "override_gid"])
  special[`mounts[]<tmpfs>.options.${id}`] = [
    { mounts: [{ type: "tmpfs", guest: "/t", options: { [id]: 0 } }] },
    true,
  ];
for (const list of ["allowed_hosts", "passthrough_hosts"])
  special[`network.secrets.entries[].${list}[]<any>`] = [
    {
      network: {
        secrets: {
          entries: [{ env_var: "A", value: "b", allowed_hosts: [host("a")], [list]: [{ type: "any" }] }],
        },
      },
    },
    false,
  ];

/** The same in another place, or the default by another name. */
const same = [
  /^registry<auto>$/,
  // Hosts without a list of their own: passthrough for all secrets is refused.
  /^network\.secrets\.(violation_action|on_violation)\.hosts/,
  /^network\.secrets\.passthrough_hosts\[\]<any>$/,
  /^network\.secrets\.entries\[\]\.(violation_action|on_violation)\.hosts\[\]<any>$/,
];

type Schema = z.core.JSONSchema._JSONSchema & object;
type Leaf = { path: string; schema: Schema };

/** The fields of a schema that hold no fields themselves; of a choice of objects, each by the word that tells them. */
function leaves(schema: Schema, path = ""): Leaf[] {
  const choices = (schema.anyOf ?? schema.oneOf)?.filter(isSchema).filter(({ type }) => type !== "null");
  if (choices) return choices.flatMap((choice) => leaves(choice, `${path}${nameOf(choice)}`));
  const properties = Object.entries(schema.properties ?? {}).filter(
    (entry): entry is [string, Schema] => isSchema(entry[1]) && entry[1].const === undefined,
  );
  if (properties.length > 0)
    return properties.flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`));
  const { items } = schema;
  if (isSchema(items) && !Array.isArray(items) && (items.properties || items.oneOf))
    return leaves(items, `${path}[]`);
  return [{ path, schema }];
}

const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null;

function nameOf({ properties }: Schema): string {
  const tag = Object.values(properties ?? {}).find((inner) => isSchema(inner) && inner.const !== undefined);
  return isSchema(tag) ? `<${String(tag.const)}>` : "";
}

/** Another value of the same kind. */
function another(value: unknown, schema: Schema): unknown {
  if (schema.enum) return schema.enum.find((each) => each !== value && each !== "passthrough");
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return value + 1;
  if (typeof value === "string") return value === "10.0.0.0/8" ? "10.0.0.0/9" : `${value}x`;
  if (Array.isArray(value)) return [...value, Array.isArray(value[0]) ? ["x", "y"] : value[0]];
  return { ...(value as object), another: "x" };
}

/** Of a choice of kinds, only the one that the value is. */
function isOf(value: unknown, { type }: Schema): boolean {
  if (type === "integer") return typeof value === "number";
  return type === "array" ? Array.isArray(value) : typeof value === type;
}

/** The body with that field changed, once for each place where it has it. */
function changed(body: object, { path, schema }: Leaf): object[] {
  const words = path.split(/\.|(?=\[\])|(?=<)/);
  const change = (value: unknown, [word, ...rest]: string[]): unknown[] => {
    if (word === undefined) return isOf(value, schema) ? [another(value, schema)] : [];
    if (word === "[]")
      return Array.isArray(value)
        ? value.flatMap((each, at) => change(each, rest).map((other) => value.with(at, other)))
        : [];
    if (word.startsWith("<"))
      return isSchema(value) && Object.values(value).includes(word.slice(1, -1)) ? change(value, rest) : [];
    if (!isSchema(value) || !Object.hasOwn(value, word)) return [];
    return change((value as Record<string, unknown>)[word], rest).map((other) => ({
      ...value,
      [word]: other,
    }));
  };
  return change(body, words) as object[];
}

const egress = egressPolicy.parse({});

/** Everything that a body makes msb or the gateway do, or its refusal. */
function effect(body: object): string {
  try {
    const parsed = createBody.parse(body);
    const { spec, slug, login, anonymous } = readCreateRequest(parsed);
    const plan = planCreate(spec, { msbVersion: "0.7.11", egress });
    return JSON.stringify([
      plan,
      slug,
      login,
      anonymous,
      spec.pull_policy,
      spec.name,
      spec.lifecycle.ephemeral,
    ]);
  } catch (error) {
    if (error instanceof ServiceError) return `refused: ${error.message}`;
    if (error instanceof z.ZodError) return `refused: ${error.message}`;
    throw error;
  }
}

const schema = z.toJSONSchema(createBody, { io: "input", unrepresentable: "any" });
const all = leaves(schema as Schema);

describe("every field of the create body", () => {
  test("is found, and the bodies are accepted as they are", () => {
    expect(all.length).toBeGreaterThan(90);
    for (const body of bodies) expect(effect(body)).not.toMatch(/^refused/);
    expect(Object.keys(special).filter((path) => !all.some((leaf) => leaf.path === path))).toEqual([]);
  });

  test.each(all)("$path", (leaf) => {
    const { path } = leaf;
    const known = special[path];
    if (known) {
      const [change, refused] = known;
      const plain = { name: "a", reference: "starter" };
      expect(effect({ ...plain, ...change }).startsWith("refused: "), "refused").toBe(refused);
      expect(effect({ ...plain, ...change })).not.toBe(effect(plain));
      return;
    }
    if (same.some((pattern) => pattern.test(path))) return;
    const effects = bodies.flatMap((body) =>
      changed(body, leaf).map((other) => [effect(body), effect(other)]),
    );
    expect(effects.length, "no body above holds it").toBeGreaterThan(0);
    for (const [before, after] of effects) expect(after).not.toBe(before);
  });
});
