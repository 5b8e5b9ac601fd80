import { createBody } from "./gateway";
import { DEFAULT_VOLUME, latin1, type Maker, noSecrets, post, request } from "./malformed-requests";
import type { Random } from "./random";

/** Names and paths that try to leave their place, or to be taken for something else. */
const HOSTILE_NAMES = [
  ...["..", "../..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"],
  ...["%00", "a%00b", "%ff%fe", "%c0%af%c0%af", "%", "%zz", "%u002e", "-rf", "--help", "-n", "$(id)", "`id`"],
  ...["a;id", "a|id", "a%0aid", "a%0d%0aX:%20y", "%F0%9F%92%A9", "__proto__", "constructor", "toString"],
  ...["x".repeat(129), "x".repeat(1025), "x".repeat(9000), "", "%20", ".", "by-name", "*", "%2f", "//"],
];
const HOSTILE_PATHS = [
  ...[
    "../../etc/passwd",
    "/../../../etc/passwd",
    "a/../../etc/passwd",
    "....//....//etc/passwd",
    "..\\..\\etc",
  ],
  ...[
    "\0",
    "a\0b",
    "/etc/passwd\0.txt",
    "\ud800",
    "x".repeat(5000),
    `${"d/".repeat(2500)}f`,
    "",
    "/",
    ".",
    "..",
  ],
  ...[
    "/proc/self/environ",
    "/dev/zero",
    "~root",
    "-rf",
    "a\nb",
    "\u202egnp.exe",
    ".msb-upload-x",
    "//a//b//",
  ],
];
const HOSTILE_VALUES: unknown[] = [
  ...[
    null,
    true,
    -1,
    0,
    1.5,
    1e308,
    -1e308,
    2 ** 53,
    "",
    "\0",
    "../../etc",
    "x".repeat(3000),
    [],
    {},
    [[[]]],
  ],
  ...[
    { $ref: "#" },
    JSON.parse('{"__proto__":{"admin":true}}'),
    ["x", null, 1],
    "\ud800",
    `${"{"}MSB_HOME}`,
    "-1",
    " ",
  ],
];

/** Parts of a create body that would reach the server itself. */
const HOSTILE_PARTS: unknown[] = [
  [{ type: "bind", source: "/etc", guest: "/x" }],
  [{ type: "copy_file", source: "/etc/shadow", path: "/x" }],
  { entries: [{ env_var: "A", source: { type: "env", var: "HOME" } }] },
  JSON.parse(`${"[".repeat(2_000)}${"]".repeat(2_000)}`),
];

/** Requests that are proper HTTP, and hostile to what is behind it. */
export const API_MAKERS: Record<string, Maker> = {
  "bad JSON": (random) => {
    const body = random.pick([
      ...[
        "{",
        "}",
        "nul",
        "{'a':1}",
        "[1,]",
        '{"a":1}x',
        "\ufeff{}",
        "NaN",
        '"\\ud8"',
        "\0",
        '{"__proto__":{}}',
      ],
      ...[
        '{"constructor":{"prototype":{"x":1}}}',
        `{"name":"deep","reference":"starter","more":${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
        "[".repeat(20_000),
        '{"a":'.repeat(10_000),
        "1e999999",
        "[]",
        '""',
      ],
      ...["\u00ff\u00fe", "\u00c3\u0028", `{"name":"${"a".repeat(50_000)}"}`, "0", "null", "true"],
    ]);
    const type = random.pick([
      ...[
        "application/json",
        "application/json; charset=utf-16",
        "application/json;",
        "text/xml",
        "a/b/c",
        "",
        "\u00ff",
      ],
      ...["multipart/form-data; boundary=", "application/x-www-form-urlencoded", "application/vnd.api+json"],
    ]);
    const path = random.pick(["/v1/sandboxes", "/v1/volumes", `/v1/volumes/${DEFAULT_VOLUME}/files/mkdir`]);
    const bytes = latin1(body);
    const headers = [`Content-Type: ${type}`, `Content-Length: ${bytes.length}`];
    return { bytes: [request(random.pick(["POST", "PUT", "PATCH"]), path, headers), bytes] };
  },
  "bad create body": (random) => {
    const body: Record<string, unknown> = createBody(`hostile-${random.between(0, 1e9)}`);
    for (let changes = random.between(1, 3); changes > 0; changes--) spoil(body, random);
    return { bytes: post("/v1/sandboxes", body) };
  },
  "hostile name": (random) => {
    const name = random.pick(HOSTILE_NAMES);
    const path = random.pick([
      ...[`/v1/sandboxes/by-name/${name}`, `/v1/sandboxes/${name}`, `/v1/volumes/${name}`],
      ...[`/v1/sandboxes/by-name/${name}/start`, `/v1/sandboxes/${name}/stop`, `/v1/sandboxes/${name}/logs`],
      ...[`/v1/sandboxes/${name}/agent`, `/v1/volumes/${name}/files`, `/${name}`, `/v1/${name}`],
    ]);
    const method = random.pick(["GET", "POST", "DELETE", "HEAD", "PUT"]);
    return { bytes: [request(method, path, ["Content-Length: 0"])], accept: noSecrets };
  },
  "bad query": (random) => {
    const query = random.pick([
      ...[
        "limit=abc",
        "limit=-1",
        "limit=0",
        "limit=1e400",
        "limit=1&limit=2",
        "limit[]=1",
        "limit=%00",
        "%zz=%zz",
      ],
      ...[
        "cursor=%ff",
        "cursor=AAAA",
        "cursor=W10",
        "cursor=..%2f",
        "labels={",
        "labels=[]",
        "labels=%7B%22a%22:1%7D",
      ],
      ...[
        "labels=null",
        "__proto__=1",
        "start=maybe",
        "wait_for=never",
        "wait_timeout=-1",
        `labels=${"x".repeat(9000)}`,
      ],
      ...[
        "&&&&",
        "=",
        "?????",
        "a".repeat(12_000),
        "wait_timeout=5",
        "start=true&start=true",
        "sources=%00,stdin",
      ],
    ]);
    return { bytes: [request("GET", `/v1/sandboxes?${query}`, [])] };
  },
  "hostile volume path": (random) => {
    const path = random.pick(HOSTILE_PATHS);
    const header = random.pick([
      Buffer.from(path).toString("base64url"),
      Buffer.from(path).toString("base64"),
      random.bytes(random.between(1, 60)).toString("base64url"),
      "\u00ff\u00fe",
      "a".repeat(9000),
    ]);
    const [method, what] = random.pick([
      ...[
        ["GET", ""] as const,
        ["GET", "/stat"] as const,
        ["GET", "/exists"] as const,
        ["GET", "/content"] as const,
      ],
      ...[["PUT", "/content"] as const, ["DELETE", ""] as const],
    ]);
    const headers = [
      `X-Msb-File-Path: ${header}`,
      `X-Msb-File-Recursive: ${random.pick(["true", "false", "x"])}`,
    ];
    const body = method === "PUT" ? "x" : "";
    return {
      bytes: [
        request(
          method,
          `/v1/volumes/${DEFAULT_VOLUME}/files${what}`,
          [...headers, `Content-Length: ${body.length}`],
          body,
        ),
      ],
      accept: noSecrets,
    };
  },
  "hostile volume body": (random) => {
    const [from, to] = [random.pick(HOSTILE_PATHS), random.pick(HOSTILE_PATHS)];
    const what = random.pick(["mkdir", "copy", "rename"]);
    const body = random.pick<unknown>([
      { path: from },
      { from, to },
      { from, to, path: to },
      { path: 1 },
      [],
    ]);
    return { bytes: post(`/v1/volumes/${DEFAULT_VOLUME}/files/${what}`, body), accept: noSecrets };
  },
  "hostile volume": (random) => ({
    bytes: post("/v1/volumes", {
      name: random.pick<unknown>([...HOSTILE_NAMES, ...HOSTILE_VALUES]),
      labels: random.pick(HOSTILE_VALUES),
      capacity_gib: random.pick(HOSTILE_VALUES),
    }),
  }),
  "bad log request": (random, { sandboxId }) => ({
    bytes: [
      request(
        "GET",
        `/v1/sandboxes/${sandboxId}/logs?sources=${random.pick(["stdin", "%00", "", ",,,", "x".repeat(200)])}`,
        [
          `Last-Event-ID: ${random.pick(["x", "AQ==", random.bytes(17).toString("base64"), "-1", "\u00ff", "a".repeat(9000)])}`,
        ],
      ),
    ],
    afterwards: "end",
  }),
};

/** Replaces a field, at any depth, by something hostile; or adds one. */
function spoil(body: Record<string, unknown>, random: Random): void {
  let place = body;
  for (;;) {
    const key = random.pick([...Object.keys(place), "extra", "__proto__", "network"]);
    const inner = Object.hasOwn(place, key) ? place[key] : undefined;
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner) && random.next() < 0.6) {
      place = inner as Record<string, unknown>;
      continue;
    }
    // Defined, not set: "__proto__" is to be a key like any other. A copy, so that nothing changes the list.
    const value = structuredClone(random.pick([...HOSTILE_VALUES, ...HOSTILE_PARTS]));
    Object.defineProperty(place, key, { value, enumerable: true, configurable: true, writable: true });
    return;
  }
}
