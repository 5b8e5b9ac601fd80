import { describe, expect, test } from "vitest";
import { describeForks } from "./backend-contract/forks";
import { describeGuests } from "./backend-contract/guests";
import { describeLife } from "./backend-contract/life";
import { describePauses } from "./backend-contract/pauses";
import { describeRestarts } from "./backend-contract/restarts";
import { describeScopes } from "./backend-contract/scopes";
import { describeSnapshots } from "./backend-contract/snapshots";
import { describeVolumes } from "./backend-contract/volumes";
import type { MakeWorld } from "./backend-contract/world";

/**
 * What every {@link Backend} promises, tried on one. It sees the backend by its interface alone, and does to the world
 * below what {@link World} offers: it holds for any that can offer that.
 */
export function describeBackend(name: string, make: MakeWorld): void {
  describe(`${name}: life`, () => describeLife(make));
  describe(`${name}: scopes`, () => describeScopes(make));
  describe(`${name}: guests`, () => describeGuests(make));
  describe(`${name}: volumes`, () => describeVolumes(make));
  describe(`${name}: snapshots`, () => describeSnapshots(make));
  describe(`${name}: forks`, () => describeForks(make));
  describe(`${name}: pauses`, () => describePauses(make));
  describe(`${name}: restarts`, () => describeRestarts(make));

  describe(`${name}: itself`, () => {
    test("it tells its version, its limits and whether it can serve", async () => {
      const { backend } = await make({ limits: { sandboxes: 7 } });
      expect(await backend.version()).toMatch(/^\d+\.\d+\.\d+/);
      expect((await backend.limits()).sandboxes).toBe(7);
      const { ready, checks } = await backend.readiness();
      expect(ready).toBe(Object.values(checks).every(({ ok }) => ok));
      for (const { ok, reason } of Object.values(checks)) expect(ok || reason).toBeTruthy();
      const none = { snapshots: 0, snapshotBytes: 0 };
      const nothing = {
        total: 0,
        running: 0,
        paused: 0,
        ephemeralRunning: 0,
        memoryMib: 0,
        cpus: 0,
        volumes: 0,
        volumeGib: 0,
        ...none,
      };
      expect(await backend.usage()).toEqual(nothing);
      expect(await backend.usage("nobody")).toEqual(nothing);
    });
  });
}
