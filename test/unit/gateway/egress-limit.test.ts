import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { egressPolicy, ownNetworks } from "../../../docker/gateway/src/backends/msb/egress";
import { closedToPulls, egressLimit } from "../../../docker/gateway/src/backends/msb/egress-limit";
import { isNoWider } from "../../../docker/gateway/src/backends/msb/wider-policy";

const folder = mkdtempSync(join(tmpdir(), "egress-limit-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, "host-ranges.json");
const policy = egressPolicy.parse({ level: "public" });

test("B17: the host's addresses are those of the file as it is now", () => {
  const limit = egressLimit(policy, file);
  for (const ranges of [["203.0.113.9/32"], [], ["203.0.113.10/32", "2001:db8:1:2::/64"]]) {
    writeFileSync(file, JSON.stringify(ranges));
    expect(limit.required()).toEqual({ ...policy, hostRanges: ranges, ownNetworks: ownNetworks() });
    expect(limit.known()).toEqual(limit.required());
    expect(closedToPulls(limit)).toEqual([...ranges, ...ownNetworks()]);
  }
});

test("B17: without the file nothing new is made, and what was made before still starts", () => {
  const made = { ...policy, hostRanges: ["203.0.113.9/32"] };
  for (const lacking of [join(folder, "none"), file]) {
    writeFileSync(file, "{");
    const limit = egressLimit(policy, lacking);
    expect(() => limit.required()).toThrow(/has not been told its host's addresses/);
    expect(isNoWider(made, limit.known())).toBe(true);
    expect(() => closedToPulls(limit)).toThrow(/has not been told its host's addresses/);
  }
});

test("a server that is given no such file has its policy alone", () => {
  expect(egressLimit(policy).required()).toEqual({ ...policy, ownNetworks: ownNetworks() });
});
