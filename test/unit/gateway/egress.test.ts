import { execFileSync } from "node:child_process";
import { BlockList, isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  boundPolicy,
  type EgressPolicy,
  egressPolicy,
  ownNetworks,
} from "../../../docker/gateway/src/backends/msb/egress";
import { GROUP_RANGES, intersection, isWithin } from "../../../docker/gateway/src/backends/msb/ip-ranges";
import { isNoWider } from "../../../docker/gateway/src/backends/msb/wider-policy";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import { destination, type SandboxSpec, sandboxSpec } from "../../../docker/gateway/src/sandboxes/spec";
import { newBody, TestGateway } from "./harness";

type Policy = NonNullable<SandboxSpec["network"]["policy"]>;
type Rule = Policy["rules"][number];

const OWN = ["172.18.0.2/16"];
const limit = (change: object = {}) => egressPolicy.parse(change);
const grant = (cidr: string, ...ports: number[]) => ({
  destination: { cidr },
  ports: ports.map((port) => ({ start: port, end: port })),
});

/** What a client's network section becomes. */
function bound(network: object, egress: EgressPolicy, own = OWN): Policy | undefined {
  const {
    image: _i,
    source: _s,
    registry: _r,
    slug: _l,
    ...spec
  } = createBody.parse(newBody("a", { network }));
  return boundPolicy(sandboxSpec.parse(spec), egress, own);
}

const policy = (rules: object[], fallback = "deny") => ({
  policy: { default_egress: fallback, default_ingress: "allow", rules },
});
const allow = (destination: unknown, change: object = {}) => ({
  direction: "egress",
  destination,
  action: "allow",
  ...change,
});
const everything = policy([allow("any", { direction: "any" })], "allow");

/** As msb does it: the first rule that matches counts. `gateway` is how a guest sees the server. */
function evaluate(rules: Policy | undefined, address: string, port: number, protocol = "tcp"): string {
  if (!rules) return "deny";
  for (const rule of rules.rules) if (matches(rule, address, port, protocol)) return rule.action;
  return rules.default_egress;
}

function matches(rule: Rule, address: string, port: number, protocol: string): boolean {
  if (rule.direction === "ingress") return false;
  if (rule.protocols.length && !rule.protocols.includes(protocol as "tcp")) return false;
  if (rule.ports.length && !rule.ports.some(({ start, end }) => start <= port && port <= end)) return false;
  const to = rule.destination;
  if (to === "any") return true;
  if (address === "gateway") return "group" in to && to.group === "host";
  if ("cidr" in to) return inRange(address, to.cidr);
  if ("domain" in to) return address === to.domain;
  if ("domain_suffix" in to) return address === to.domain_suffix || address.endsWith(`.${to.domain_suffix}`);
  return to.group === groupOf(address);
}

const inRange = (address: string, cidr: string) =>
  isIP(address) !== 0 && isWithin(`${address}/${address.includes(":") ? 128 : 32}`, cidr);

function groupOf(address: string): string {
  const groups = ["metadata", "loopback", "private", "link_local", "multicast"];
  const found = groups.find((group) => GROUP_RANGES[group]?.some((range) => inRange(address, range)));
  return found ?? (address === "0.0.0.0" || address === "::" ? "none" : "public");
}

const SERVER = [
  "gateway",
  "127.0.0.1",
  "127.9.9.9",
  "0.0.0.0",
  "0.1.2.3",
  "::",
  "::1",
  "172.18.0.1",
  "172.18.0.2",
  // The same through NAT64, and the metadata.
  "64:ff9b::7f00:1",
  "64:ff9b::ac12:1",
  "64:ff9b::a9fe:a9fe",
  "64:ff9b::a83f:8110",
];
const METADATA = [
  "169.254.169.254",
  "169.254.170.2",
  "168.63.129.16",
  "192.0.0.192",
  "fd00:ec2::254",
  "fe80::1",
  "64:ff9b:1::a9fe:a9fe",
  "2002:a9fe:a9fe::1",
];
const RESERVED = [
  "192.0.0.1",
  "198.18.0.1",
  "198.19.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "64:ff9b::a00:1",
];
const PRIVATE = [
  ...["10.0.2.2", "172.17.0.1", "192.168.1.1", "100.64.0.1", "fd42::1", "224.0.0.1"],
  ...RESERVED,
];
const PUBLIC = ["1.1.1.1", "203.0.113.9", "2606:4700::1111"];

describe("whatever a client asks for", () => {
  test.each([
    ["none", "nothing", [...SERVER, ...METADATA, ...PRIVATE, ...PUBLIC], []],
    ["public", "the internet", [...SERVER, ...METADATA, ...PRIVATE], PUBLIC],
    ["all", "private networks too", [...SERVER, ...METADATA], [...PRIVATE, ...PUBLIC]],
  ])("level %s: %s", (level, _what, closed, open) => {
    const rules = bound(everything, limit({ level }));
    for (const address of closed)
      expect(`${address} ${evaluate(rules, address, 5555)}`).toBe(`${address} deny`);
    for (const address of open)
      expect(`${address} ${evaluate(rules, address, 5555)}`).toBe(`${address} allow`);
  });

  test("a public address of the host is closed with the private ones", () => {
    const egress = limit({ hostRanges: ["203.0.113.9/32"] });
    expect(evaluate(bound(everything, egress), "203.0.113.9", 22)).toBe("deny");
    expect(evaluate(bound(everything, egress), "203.0.113.10", 22)).toBe("allow");
  });

  test("names are still asked for where the client's policy says so", () => {
    expect(evaluate(bound({}, limit()), "gateway", 53, "udp")).toBe("allow");
    expect(evaluate(bound(policy([]), limit()), "gateway", 53, "udp")).toBe("deny");
    expect(evaluate(bound(everything, limit({ level: "none" })), "gateway", 53, "udp")).toBe("deny");
  });

  test("no network stays no network, and the level none without a grant is none", () => {
    expect(bound({ enabled: false }, limit({ grants: [grant("10.0.0.0/8")] }))).toBeUndefined();
    expect(bound(everything, limit({ level: "none" }))).toBeUndefined();
  });

  test("one that sends no policy gets the internet and names", () => {
    const rules = bound({}, limit());
    expect(PUBLIC.map((address) => evaluate(rules, address, 443))).toEqual(["allow", "allow", "allow"]);
    expect(PRIVATE.map((address) => evaluate(rules, address, 443))).not.toContain("allow");
  });
});

describe("what is opened", () => {
  const opened = limit({ grants: [grant("10.1.0.0/16", 5432), grant("192.168.5.0/24")] });

  test.each([
    ["one that sends no policy", {}, "allow"],
    ["one that asks for everything", everything, "allow"],
    ["one that asks for the internet", policy([allow({ group: "public" })]), "allow"],
    ["one that asks for just that", policy([allow({ cidr: "10.1.2.3/32" })]), "allow"],
    ["one that asks for private networks", policy([allow({ group: "private" })]), "allow"],
    ["one that asks for another range", policy([allow({ cidr: "10.2.0.0/16" })]), "deny"],
    ["one that asks for one name", policy([allow({ domain: "example.com" })]), "deny"],
    ["one that closes it", policy([allow({ cidr: "10.0.0.0/8" }, { action: "deny" })], "allow"), "deny"],
    ["one that asks for another port", policy([allow("any", { ports: [{ start: 80, end: 80 }] })]), "deny"],
    [
      "one that asks for a range of ports",
      policy([allow("any", { ports: [{ start: 1, end: 9999 }] })]),
      "allow",
    ],
  ])("%s: 10.1.2.3:5432 %#", (_who, network, expected) => {
    const rules = bound(network, opened);
    expect(evaluate(rules, "10.1.2.3", 5432)).toBe(expected);
    expect(evaluate(rules, "10.1.2.3", 5433)).toBe("deny");
    expect(evaluate(rules, "10.3.0.1", 5432)).toBe("deny");
  });

  test("a name, where nothing else is open", () => {
    const names = limit({ level: "none", grants: [{ destination: { domain_suffix: "example.com" } }] });
    expect(evaluate(bound({}, names), "example.com", 443)).toBe("allow");
    expect(evaluate(bound({}, names), "example.org", 443)).toBe("deny");
    expect(evaluate(bound(policy([allow({ domain: "example.com" })]), names), "example.com", 443)).toBe(
      "allow",
    );
    expect(evaluate(bound(policy([]), names), "example.com", 443)).toBe("deny");
    expect(evaluate(bound({}, names), "a.example.com", 443)).toBe("allow");
    // One name is not those below it.
    const one = bound(policy([allow({ domain: "example.com" })]), names);
    expect(evaluate(one, "a.example.com", 443)).toBe("deny");
  });

  test("not even that leads to the server", () => {
    const rules = bound(everything, limit({ grants: [grant("172.16.0.0/12"), grant("::/0")] }));
    for (const address of SERVER)
      expect(`${address} ${evaluate(rules, address, 5555)}`).toBe(`${address} deny`);
  });
});

/** What msb counts as public, and no level but `all` opens: written here once more, by its registry entries. */
const isReserved = (address: string): boolean =>
  [
    ...["192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4"],
    ...["64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"],
  ].some((range) => inRange(address, range));

const bits = (address: string) => (address.includes(":") ? 128 : 32);
const anyRange = fc
  .oneof(fc.ipV4(), fc.ipV6())
  .chain((start) => fc.nat(bits(start)).map((length) => `${start}/${length}`));

/** The same by node's own arithmetic. */
function nodeSays(inner: string, outer: string): boolean {
  const [[address = "", length], [start = "", outerLength]] = [inner.split("/"), outer.split("/")];
  const family = (text: string) => (text.includes(":") ? "ipv6" : "ipv4");
  if (family(address) !== family(start) || Number(length) < Number(outerLength)) return false;
  const list = new BlockList();
  list.addSubnet(start, Number(outerLength), family(start));
  return list.check(address, family(address));
}

test("ranges lie in each other or apart, as node has it", () => {
  fc.assert(
    fc.property(anyRange, anyRange, fc.nat(128), (one, other, length) => {
      const [start = ""] = one.split("/");
      for (const outer of [other, `${start}/${Math.min(length, bits(start))}`]) {
        expect(isWithin(one, outer)).toBe(nodeSays(one, outer));
        const common = [one, outer].find((each) => nodeSays(each, one) && nodeSays(each, outer));
        expect(intersection(one, outer)).toBe(common);
      }
    }),
  );
});

test("a range that the schema takes is one that can be compared", () => {
  const texts = fc.oneof(
    anyRange,
    fc.stringMatching(/^[0-9a-fx:.%]{1,20}\/[0-9]{1,3}$/),
    fc.constantFrom(
      "010.0.0.0/8",
      "0x7f.0.0.1/8",
      "127.1/8",
      "::ffff:1.2.3.4/100",
      "::1.2.3.4/128",
      "1:2:3:4:5:6:1.2.3.4/9",
    ),
    fc.constantFrom(
      "fe80::1%eth0/64",
      "10.0.0.0/33",
      "10.0.0.0/-1",
      "10.0.0.0",
      "[::1]/128",
      "::/129",
      "10.0.0.0/08",
    ),
  );
  fc.assert(
    fc.property(texts, (text) => {
      if (!destination.safeParse({ cidr: text }).success) return;
      expect(isWithin(text, text)).toBe(true);
      // What the rules mean by it is what msb and node mean by it: no octal, no short forms.
      expect(isIP(text.split("/")[0] ?? "")).not.toBe(0);
    }),
    { numRuns: 2_000 },
  );
});

test("link-local is all of its range but for the metadata address", () => {
  const inGroup = (address: string) => GROUP_RANGES.link_local?.some((range) => inRange(address, range));
  fc.assert(
    fc.property(fc.nat(255), fc.nat(255), (high, low) => {
      expect(inGroup(`169.254.${high}.${low}`)).toBe(!(high === 169 && low === 254));
    }),
    { examples: [[169, 254], [169, 255], [169, 253], [0, 0], [255, 255]] }, // biome-ignore format: pairs
  );
});

const address = fc.oneof(
  fc.constantFrom(...SERVER, ...METADATA, ...PRIVATE, ...PUBLIC),
  fc.ipV4(),
  fc.ipV6(),
);
const cidr = fc.oneof(
  fc.tuple(fc.ipV4(), fc.nat(32)).map(([start, bits]) => `${start}/${bits}`),
  fc.constantFrom("10.0.0.0/8", "172.16.0.0/12", "0.0.0.0/0", "::/0", "10.1.2.3/32"),
);
const rule = fc.record({
  direction: fc.constantFrom("egress", "any", "ingress"),
  destination: fc.oneof(
    fc.constant("any"),
    cidr.map((range) => ({ cidr: range })),
    fc
      .constantFrom("public", "private", "loopback", "metadata", "link_local", "multicast", "host")
      .map((group) => ({ group })),
  ),
  protocols: fc.subarray(["tcp", "udp"]),
  ports: fc.array(
    fc.nat(65_535).map((port) => ({ start: Math.floor(port / 2), end: port })),
    { maxLength: 2 },
  ),
  action: fc.constantFrom("allow", "deny"),
});
/** One of each part of the internet, so that no single range of a client's covers them all by chance. */
const ANYWHERE = [
  "1.1.1.1",
  "41.2.3.4",
  "77.2.3.4",
  "130.2.3.4",
  "150.2.3.4",
  "200.2.3.4",
  "2606:4700::1111",
];

const network = fc.record({
  rules: fc.array(rule, { maxLength: 6 }),
  fallback: fc.constantFrom("allow", "deny"),
});
const grants = fc.array(
  cidr.map((range) => grant(range)),
  { maxLength: 3 },
);
const level = fc.constantFrom("none", "public", "all");

test("any policy: nothing opens that the server closes, nor that the client does", () => {
  fc.assert(
    fc.property(
      network,
      grants,
      level,
      address,
      fc.integer({ min: 1, max: 65_535 }),
      (asked, opened, most, to, port) => {
        const mine = policy(asked.rules, asked.fallback);
        const rules = bound(mine, limit({ level: most, grants: opened }));
        const isOpened = to !== "gateway" && opened.some(({ destination }) => inRange(to, destination.cidr));
        if (evaluate(rules, to, port) === "deny") return;
        expect([...SERVER.slice(1), ...OWN]).not.toContain(to);
        if (to === "gateway") expect(port).toBe(53);
        else if (most === "none") expect(isOpened).toBe(true);
        else if (most === "public")
          expect(isOpened || (groupOf(to) === "public" && !isReserved(to))).toBe(true);
        // The client's own word on it, or on some public address where that speaks for what is opened.
        const speaking = isOpened ? [to, ...ANYWHERE] : [to];
        expect(speaking.map((each) => evaluate(mine.policy as Policy, each, port))).toContain("allow");
      },
    ),
    { numRuns: 1_000 },
  );
});

const NAMES = ["example", "a.example", "b.a.example", "b.example", "other"];
const opening = fc.record({
  destination: fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .constantFrom(
          "10.0.0.0/8",
          "10.1.0.0/16",
          "172.16.0.0/12",
          "0.0.0.0/0",
          "::/0",
          "169.254.169.254/32",
          "203.0.113.0/24",
        )
        .map((range) => ({ cidr: range })),
    },
    {
      weight: 2,
      arbitrary: fc
        .constantFrom(...NAMES)
        .chain((each) => fc.constantFrom({ domain: each }, { domain_suffix: each })),
    },
    fc.constantFrom("public", "private", "link_local", "multicast", "metadata").map((group) => ({ group })),
    fc.constant("any"),
  ),
  ports: fc.constantFrom([], [{ start: 80, end: 80 }], [{ start: 1, end: 5555 }]),
});
const anyLimit = fc
  .record({
    level,
    grants: fc.array(opening, { maxLength: 2 }),
    hostRanges: fc.subarray(["203.0.113.9/32", "10.0.0.0/8", "2606:4700::/32"]),
    ownNetworks: fc.subarray(["172.18.0.2/16", "172.19.0.2/24", "203.0.113.7/24"]),
  })
  .map(({ ownNetworks: own, ...policy }) => ({ ...limit(policy), ownNetworks: own }));
const anyPlace = fc.oneof(
  address,
  fc.constantFrom(...NAMES, "10.1.2.3", "172.19.0.1", "172.18.0.1", "203.0.113.1", "203.0.113.9"),
);

test("any two policies: what was made under one is no wider than the other lets anybody reach", () => {
  let found = 0;
  const check = (
    made: EgressPolicy & { ownNetworks: string[] },
    now: EgressPolicy & { ownNetworks: string[] },
    places: string[],
    port: number,
  ) => {
    expect(isNoWider(made, made)).toBe(true);
    expect(isNoWider(made, { ...made, grants: [...made.grants, ...now.grants] })).toBe(true);
    expect(isNoWider({ ...made, level: "none" }, { ...made, level: now.level })).toBe(true);
    if (!isNoWider(made, now)) return;
    found++;
    const [before, after] = [made, now].map((each) => bound(everything, each, each.ownNetworks));
    for (const to of places)
      if (evaluate(before, to, port) === "allow")
        expect(`${to} ${evaluate(after, to, port)}`).toBe(`${to} allow`);
  };
  fc.assert(
    fc.property(
      anyLimit,
      anyLimit,
      fc.array(anyPlace, { maxLength: 20 }),
      fc.constantFrom(53, 80, 443, 5555),
      check,
    ),
    { numRuns: 5_000 },
  );
  expect(found).toBeGreaterThan(100);
});

test("too many rules are the client's mistake", () => {
  const grants = Array.from({ length: 200 }, (_none, index) => grant(`10.0.${index}.0/24`));
  const rules = Array.from({ length: 20 }, () => allow("any"));
  expect(() => bound(policy(rules), limit({ grants }))).toThrow(/2048 is the most/);
});

describe("a sandbox that was made under another setting", () => {
  const wide = limit({ level: "all" });
  const name = { domain: "a.example" };
  const withGrant = (opened: object) => limit({ level: "none", grants: [opened] });
  test.each<[string, EgressPolicy, EgressPolicy, boolean]>([
    ["the same", limit(), limit(), true],
    ["a wider one now", limit({ level: "none" }), limit(), true],
    ["a narrower one now", wide, limit(), false],
    ["a grant less now", limit({ grants: [grant("10.1.0.0/16")] }), limit(), false],
    ["a grant more now", limit(), limit({ grants: [grant("10.1.0.0/16")] }), true],
    [
      "a grant that holds it",
      limit({ grants: [grant("10.1.2.0/24", 80)] }),
      limit({ grants: [grant("10.1.0.0/16")] }),
      true,
    ],
    [
      "a grant of fewer ports",
      limit({ grants: [grant("10.1.0.0/16")] }),
      limit({ grants: [grant("10.1.0.0/16", 80)] }),
      false,
    ],
    ["another address of the host", limit(), limit({ hostRanges: ["203.0.113.9/32"] }), false],
    ["a private address of the host", limit(), limit({ hostRanges: ["10.0.0.9/32"] }), true],
    ["all, which has what was granted", limit({ grants: [grant("10.1.0.0/16")] }), wide, true],
    ["all, which lacks what was granted", limit({ grants: [grant("169.254.0.0/16")] }), wide, false],
    ["a name, which may be any address", limit({ grants: [{ destination: name }] }), wide, false],
    [
      "a range for the internet",
      withGrant(grant("10.0.0.0/8")),
      withGrant({ destination: { group: "public" } }),
      false,
    ],
    [
      "names below one",
      withGrant({ destination: { domain_suffix: "a.example" } }),
      withGrant({ destination: name }),
      false,
    ],
    [
      "a name below others",
      withGrant({ destination: name }),
      withGrant({ destination: { domain_suffix: "example" } }),
      true,
    ],
    [
      "networks of the server",
      { ...wide, ownNetworks: OWN },
      { ...wide, ownNetworks: ["172.18.9.9/16"] },
      true,
    ],
    [
      "other networks of the server",
      { ...wide, ownNetworks: OWN },
      { ...wide, ownNetworks: ["172.19.0.2/16"] },
      false,
    ],
    [
      "the same, closed all the same",
      { ...limit(), ownNetworks: OWN },
      { ...limit(), ownNetworks: ["172.19.0.2/16"] },
      true,
    ],
    ["the same, of an older gateway", wide, { ...wide, ownNetworks: ["172.19.0.2/16"] }, true],
  ])("%s", (_what, made, now, expected) => {
    expect(isNoWider(made, now)).toBe(expected);
  });

  test("does not start where it could reach more than is allowed now", async () => {
    const before = await TestGateway.start({ EGRESS: '{"level":"public"}' });
    expect((await before.create("old")).status).toBe(200);
    await before.post("/v1/sandboxes/by-name/old/stop");
    await before.close();

    const now = await TestGateway.start({ EGRESS: '{"level":"none"}' }, before.home);
    const refused = await now.post("/v1/sandboxes/by-name/old/start");
    expect([refused.status, refused.body.error.code]).toEqual([409, "invalid_state_transition"]);
    await now.close();

    const again = await TestGateway.start({ EGRESS: '{"level":"all"}' }, before.home);
    expect((await again.post("/v1/sandboxes/by-name/old/start")).status).toBe(200);
  });
});

test("the gateway hands the rules to msb", async () => {
  const gateway = await TestGateway.start();
  expect((await gateway.create("a", { network: everything })).status).toBe(200);
  const calls = gateway.calls();
  expect(calls).toContain("deny:egress@meta:any");
  expect(calls.indexOf("deny:egress@private:any")).toBeLessThan(calls.indexOf("allow:any@any:any"));
  for (const own of ownNetworks())
    expect(calls).toContain(`deny:egress@${own.includes(":") ? `[${own}]` : own}`);
  expect(ownNetworks().length, execFileSync("ip", ["-o", "addr"], { encoding: "utf8" })).toBeGreaterThan(0);
});
