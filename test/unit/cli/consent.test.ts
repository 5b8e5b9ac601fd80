import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { askConsent, Repairs, type Terminal } from "../../../cli/consent";

const asking = { question: "Destroy stack s?", line: "npm run destroy -- --yes" };

/** A terminal at which somebody types this, once the question is there. */
function typing(keys: string | undefined, isTTY = true): Terminal & { shown: () => string } {
  const input = Object.assign(new PassThrough(), { isTTY, setRawMode: () => {} });
  const output = Object.assign(new PassThrough(), { isTTY, columns: 80 });
  let shown = "";
  output.on("data", (data: Buffer) => {
    const first = shown === "";
    shown += data.toString();
    if (first) setImmediate(() => (keys === undefined ? input.end() : input.write(keys)));
  });
  return { input, output, shown: () => shown } as unknown as Terminal & { shown: () => string };
}

describe("a question before something is done", () => {
  it.each(["y\n", "Y\r", "yes\n", " YES \n"])("goes on with %j", async (keys) => {
    const terminal = typing(keys);
    await askConsent({ ...asking, yes: false, strict: true }, terminal);
    expect(terminal.shown()).toContain("Destroy stack s? [y/N]");
  });

  it.each(["\n", "n\n", "no\n", "yesterday\n", "\u0003", "\u0004", undefined])(
    "changes nothing with %j",
    async (keys) => {
      const asked = askConsent({ ...asking, yes: false, strict: false }, typing(keys));
      await expect(asked).rejects.toThrow("Nothing was changed.");
    },
  );

  it("is not asked where nobody can answer: a strict one refuses with what to type, another goes on", async () => {
    await expect(
      askConsent({ ...asking, yes: undefined, strict: true }, typing("y\n", false)),
    ).rejects.toThrow(/no terminal[\s\S]*Nothing was changed\.\n.*npm run destroy -- --yes/);
    await askConsent({ ...asking, yes: undefined, strict: false }, typing("n\n", false));
    await askConsent({ ...asking, yes: true, strict: true }, typing("n\n", false));
    await askConsent({ ...asking, yes: true, strict: true }, typing("n\n"));
  });
});

describe("repairs before a plan", () => {
  const consent = { ...asking, question: "Repair s?" };

  it("are asked for where there is a question, and refused where nobody can answer", async () => {
    const repairs = new Repairs({ ...consent, yes: undefined });
    await expect(repairs.approve(["The container was started."])).rejects.toThrow(
      /^Repair s\? There is no terminal to ask on\. The service was not changed\./,
    );
    expect(repairs.left).toBe("The service was not changed.");
  });

  it.each([new Repairs(), new Repairs({ ...consent, yes: true })])(
    "are told to whoever refuses what comes next",
    async (repairs) => {
      await repairs.approve(["The container was started."]);
      const asked = askConsent({ ...asking, yes: false, strict: false, left: repairs.left }, typing("n\n"));
      await expect(asked).rejects.toThrow(
        "Nothing else of the service was changed. Already done:\n  - The container was started.",
      );
    },
  );
});
