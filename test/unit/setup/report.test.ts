import { describe, expect, it } from "vitest";
import { createReporter, elapsed } from "../../../setup/report";

describe("the progress reporter", () => {
  const pause = (ms: number) => new Promise((wake) => setTimeout(wake, ms));

  it("announces a step, shows that it goes on, and says how long it took", async () => {
    const lines: string[] = [];
    const report = createReporter({ write: (line) => void lines.push(line), heartbeatMs: 20 });
    expect(await report.step("Build it", () => pause(300).then(() => 7))).toBe(7);
    expect(lines[0]).toBe("• Build it …");
    // After 20 ms, 60 ms, 140 ms and 260 ms: less and less often.
    const beats = lines.filter((line) => line.endsWith("s: Build it")).length;
    expect(beats).toBeGreaterThanOrEqual(2);
    expect(beats).toBeLessThanOrEqual(4);
    expect(lines.at(-1)).toMatch(/^✓ Build it \(0\.\d s\)$/);
    const count = lines.length;
    await pause(150);
    expect(lines.length).toBe(count);
  });

  it("says nothing of a short wait, and of a longer one what it is for", async () => {
    const lines: string[] = [];
    const report = createReporter({ write: (line) => void lines.push(line), heartbeatMs: 40 });
    expect(await report.wait("asking", async () => 7)).toBe(7);
    await expect(report.wait("asking", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    await pause(120);
    expect(lines).toEqual([]);
    await report.wait("asking the server", () => pause(300));
    expect(lines[0]).toMatch(/^ {2}… \d\.\d s: asking the server$/);
    const count = lines.length;
    await pause(120);
    expect(lines.length).toBe(count);
  });

  it("leaves the lines of a wait inside of a step or a wait to the outer one", async () => {
    const lines: string[] = [];
    const report = createReporter({ write: (line) => void lines.push(line), heartbeatMs: 20 });
    await report.step("Build it", () => report.wait("inner", () => pause(100)));
    await report.wait("outer", () => report.wait("inner", () => pause(100)));
    expect(lines.filter((line) => line.includes("inner"))).toEqual([]);
    expect(lines.filter((line) => line.endsWith(": outer")).length).toBeGreaterThan(0);
    await report.wait("last", () => pause(100));
    expect(lines.at(-1)).toMatch(/: last$/);
  });

  it("says that a step failed and passes its error on", async () => {
    const lines: string[] = [];
    const report = createReporter({ write: (line) => void lines.push(line) });
    await expect(report.step("Build it", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(lines.at(-1)).toMatch(/^✗ Build it failed after/);
  });

  it.each([
    [400, "0.4 s"],
    [12_400, "12 s"],
    [200_000, "3 min 20 s"],
  ])("writes %i ms as %s", (ms, text) => expect(elapsed(0, ms)).toBe(text));
});
