import { expect, test } from "vitest";
import { pruneOptions } from "../../../../cli/commands/images";
import { UserError } from "../../../../setup/user-error";

test.each([
  [{}, {}],
  [{ olderThan: "7d" }, { olderThanSeconds: 604_800 }],
  [
    { olderThan: "90m", maxSize: "1.5G" },
    { olderThanSeconds: 5_400, maxBytes: 1_610_612_736 },
  ],
  [{ maxSize: "0" }, { maxBytes: 0 }],
])("%j is %j for the server", (limits, options) => {
  expect(pruneOptions(limits)).toEqual(options);
});

test.each([[{ olderThan: "7" }], [{ olderThan: "-1d" }], [{ olderThan: "" }], [{ maxSize: "much" }]])(
  "%j is refused",
  (limits) => {
    expect(() => pruneOptions(limits)).toThrow(UserError);
  },
);
