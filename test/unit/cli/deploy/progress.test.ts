import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Progress } from "../../../../cli/deploy/progress";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const begun = (name: string, op = "create") => ({
  resourcePreEvent: { metadata: { op, urn: `urn::${name}` } },
});
const ended = (name: string) => ({ resOutputsEvent: { metadata: { urn: `urn::${name}` } } });
const failed = (name: string) => ({ resOpFailedEvent: { metadata: { urn: `urn::${name}` } } });

it("names the resource that takes long instead of the component that it is in, and what it does", () => {
  const lines: string[] = [];
  const progress = new Progress((line) => lines.push(line));
  const of = (name: string, custom?: boolean, op = "create") => {
    const { metadata } = begun(name, op).resourcePreEvent;
    const state = custom === undefined ? {} : { custom };
    return { resourcePreEvent: { metadata: { ...metadata, [op === "delete" ? "old" : "new"]: state } } };
  };
  progress.take(of("sandboxes"));
  progress.take(of("sandboxes-upgrade", false));
  vi.advanceTimersByTime(5_000);
  expect(lines).toEqual([]);
  progress.take(of("sandboxes-upgrade-trial", true));
  vi.advanceTimersByTime(10_000);
  expect(lines.at(-1)).toBe(
    "  … 10 s: creating sandboxes-upgrade-trial (testing the new server on a copy of the state, if there is one)",
  );
  progress.take(ended("sandboxes-upgrade-trial"));
  progress.take(of("sandboxes-server-container", true, "delete"));
  vi.advanceTimersByTime(20_000);
  expect(lines.at(-1)).toBe("  … 20 s: deleting sandboxes-server-container");
  progress.end();
});

it("says what takes its time, less and less often, and nothing of what is over or unchanged", () => {
  const lines: string[] = [];
  const progress = new Progress((line) => lines.push(line));
  progress.take(begun("quick"));
  progress.take(begun("same", "same"));
  progress.take(begun("image"));
  progress.take(ended("quick"));
  vi.advanceTimersByTime(4_999);
  expect(lines).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(lines).toEqual(["  … 5.0 s: creating image"]);
  progress.take(begun("container", "delete-replaced"));
  vi.advanceTimersByTime(10_000);
  expect(lines.at(-1)).toBe("  … 15 s: creating image, and 1 more");
  progress.take(failed("image"));
  vi.advanceTimersByTime(20_000);
  expect(lines.at(-1)).toBe("  … 30 s: deleting container");
  vi.advanceTimersByTime(3_600_000);
  expect(lines.length).toBeLessThanOrEqual(3 + 3_600 / 30 + 1);
  progress.take(ended("container"));
  const told = lines.length;
  vi.advanceTimersByTime(60_000);
  progress.end();
  vi.advanceTimersByTime(3_600_000);
  expect(lines.length).toBe(told);
});
