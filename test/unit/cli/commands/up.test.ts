import { expect, it } from "vitest";
import { askAboutPlan, refuseUnfinishedPlan } from "../../../../cli/commands/up";
import { silentReporter } from "../../../../setup/report";

const planned = { ok: true, interrupted: false, words: [], changes: 3 };

it("tells a preview that was interrupted from one that failed", () => {
  expect(() => refuseUnfinishedPlan(planned)).not.toThrow();
  expect(() => refuseUnfinishedPlan({ ok: false, interrupted: false })).toThrow(
    /failed; the reason is above/,
  );
  for (const ok of [true, false])
    expect(() => refuseUnfinishedPlan({ ok, interrupted: true })).toThrow(
      /was interrupted\. No host was changed/,
    );
});

it.each([true, false])(
  "does not deploy a plan whose preview was interrupted, nor ask about it: ok %s",
  async (ok) => {
    const asked = (change: object) => askAboutPlan("prod", { ...planned, ...change }, true, silentReporter);
    await expect(asked({ ok, interrupted: true })).rejects.toThrow(/interrupted/);
    await expect(asked({ ok, interrupted: true, changes: 0 })).rejects.toThrow(/interrupted/);
    await asked({ ok });
  },
);
