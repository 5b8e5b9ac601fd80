import { BlockList, isIP } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import fc from "fast-check";
import { expect, test } from "vitest";
import { networkPolicies } from "../../../../components/cluster/network-policies";

interface Rule {
  to?: { ipBlock?: { cidr: string; except?: string[] }; podSelector?: object }[];
  ports?: { protocol: string; port: number }[];
}
type Policies = Record<string, { spec?: never; egress?: Rule[] }>;

const settings = { port: 5555, egress: "public" as const, egressAllow: [] as string[] };
const found = { api: [6443], dns: [53, 53] };
const policies = (change: Partial<typeof settings> & { egress?: "public" | "none" }, ports = found) =>
  new Promise<Policies>((known) => {
    pulumi.output(networkPolicies({ ...settings, ...change }, ports)).apply((all) => known(all as Policies));
  });

/** Whether the rules let a connection go to an address, of which no policy knows the name or the label. */
function isOpen(rules: readonly Rule[] = [], address: string, port: number, protocol = "TCP"): boolean {
  const type = isIP(address) === 4 ? "ipv4" : "ipv6";
  const isIn = (range: string) => {
    const [start = "", bits] = range.split("/");
    if ((isIP(start) === 4) !== (type === "ipv4")) return false;
    const list = new BlockList();
    list.addSubnet(start, Number(bits), type);
    return list.check(address, type);
  };
  return rules.some(
    ({ to, ports }) =>
      (!to || to.some(({ ipBlock: at }) => at && isIn(at.cidr) && !at.except?.some(isIn))) &&
      (!ports || ports.some((each) => each.port === port && each.protocol === protocol)),
  );
}

test("routers reach the API and names at the ports that the cluster has for them, and the usual ones, and no other", async () => {
  const port = fc.integer({ min: 1, max: 65_535 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(port, { maxLength: 3 }),
      fc.array(port, { maxLength: 3 }),
      port,
      async (api, dns, other) => {
        const { router, servers } = await policies({}, { api, dns });
        for (const each of [443, 6443, ...api]) expect(isOpen(router?.egress, "10.0.0.1", each)).toBe(true);
        for (const each of [53, ...dns])
          for (const protocol of ["TCP", "UDP"])
            for (const policy of [router, servers])
              expect(isOpen(policy?.egress, "10.0.0.1", each, protocol)).toBe(true);
        const known = [443, 6443, 53, ...api, ...dns];
        if (!known.includes(other)) expect(isOpen(router?.egress, "10.0.0.1", other)).toBe(false);
      },
    ),
    { numRuns: 50 },
  );
});

const places = {
  internet: ["1.2.3.4", "2606:4700::1"],
  near: ["10.1.2.3", "192.168.1.1", "100.64.0.1", "fd00::5"],
  // The node itself, and what a cloud tells its machines.
  own: ["127.0.0.1", "169.254.169.254", "fe80::1", "::1"],
};

test("servers reach the internet, and of private networks what is opened: a range, or for a name all at its port", async () => {
  const openings = fc.subarray([
    "10.1.0.0/16",
    "[fd00::5]:5432",
    "db.corp.example.com:5432",
    "*.corp.example.com",
  ]);
  await fc.assert(
    fc.asyncProperty(openings, fc.constantFrom(443, 5432), async (egressAllow, port) => {
      const { servers } = await policies({ egressAllow });
      const reaches = (address: string) => isOpen(servers?.egress, address, port);
      for (const address of places.internet) expect(reaches(address)).toBe(true);
      for (const address of places.own) expect(reaches(address)).toBe(false);
      const isNamed = egressAllow.some(
        (each) => each.startsWith("*") || (each.startsWith("db") && port === 5432),
      );
      for (const address of places.near) {
        const isListed =
          (address === "10.1.2.3" && egressAllow.includes("10.1.0.0/16")) ||
          (address === "fd00::5" && port === 5432 && egressAllow.some((each) => each.startsWith("[fd00")));
        expect([address, reaches(address)]).toEqual([address, isNamed || isListed]);
      }
    }),
  );
});
