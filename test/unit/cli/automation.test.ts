import fc from "fast-check";
import { expect, it } from "vitest";
import { sumUp, watch } from "../../../cli/automation";
import { silentReporter } from "../../../setup/report";

it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
  "knows that %s came, although Pulumi then ends in good order",
  async (signal) => {
    const how = { report: silentReporter, color: "never" } as const;
    // The test's own process ends with it.
    const others = process.listeners(signal);
    process.removeAllListeners(signal);
    const during = (work: () => void) => watch(how, false, async () => work());
    expect(await during(() => process.emit(signal))).toMatchObject({ ok: true, interrupted: true });
    expect(await during(() => {})).toMatchObject({ ok: true, interrupted: false });
    for (const each of others) process.on(signal, each);
  },
);

const step = (op: string, type: string, urn: string) => ({
  resourcePreEvent: { metadata: { op, type, urn, detailedDiff: {}, old: {}, new: {} } },
});

it("tells a run with nothing to do from one with something", () => {
  const type = fc.constantFrom("docker:index/remoteImage:RemoteImage", "docker:index/volume:Volume", "a:b:C");
  const op = fc.constantFrom(
    "same",
    "refresh",
    "read",
    "create",
    "update",
    "replace",
    "delete",
    "create-replacement",
  );
  const event = fc.record({ op, type, urn: fc.constantFrom("a", "b", "c") });
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const found = sumUp(events.map(({ op, type, urn }) => step(op, type, urn)));
      const changed = events.filter(({ op }) => !["same", "refresh", "read"].includes(op));
      expect(found.changes).toBe(new Set(changed.map(({ urn }) => urn)).size);
    }),
  );
  expect(sumUp([{}])).toEqual({ words: [], changes: 0 });
});
