import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { stackOption } from "../../../cli/commands/pulumi";
import { chooseStack } from "../../../cli/stack";
import { createReporter } from "../../../setup/report";

const report = createReporter({ write: () => undefined });
/** A pulumi with these stacks, one of them selected. */
const having = (stacks: string[], selected?: string) => [
  {
    read: async ([command, ...args]: string[]) => {
      expect(command).toBe("stack");
      if (args[0] === "ls") return JSON.stringify(stacks.map((name) => ({ name })));
      if (selected === undefined) throw new Error("no stack selected");
      return `${selected}\n`;
    },
  },
];

it("is the one asked for, else the selected one, else the one that fits this machine", async () => {
  const fitting = await chooseStack(undefined, having([]), report);
  expect(["dev", "emulated"]).toContain(fitting);
  await fc.assert(
    fc.asyncProperty(
      fc.option(fc.constantFrom("dev", "emulated", "prod"), { nil: undefined }),
      fc.option(fc.constantFrom("dev", "emulated", "prod"), { nil: undefined }),
      async (asked, selected) => {
        const pulumi = having(selected ? [selected] : [], selected);
        expect(await chooseStack(asked, pulumi, report)).toBe(asked ?? selected ?? fitting);
      },
    ),
    { numRuns: 30 },
  );
  expect(await chooseStack(undefined, [], report)).toBe(fitting);
});

it("is the one selected in the folder of the checkout where the login has none", async () => {
  expect(await chooseStack(undefined, [...having([]), ...having(["prod"], "prod")], report)).toBe("prod");
});

it("needs no settings file where the backend has the stack", async () => {
  expect(await chooseStack("elsewhere", having(["org/elsewhere"]), report)).toBe("elsewhere");
  expect(await chooseStack(undefined, having(["elsewhere"], "elsewhere"), report)).toBe("elsewhere");
});

it.each(["nowhere", "org/microsandbox/nowhere"])("says which stacks there are, of %s", async (asked) => {
  await expect(chooseStack(asked, having(["dev"]), report)).rejects.toThrow(
    new RegExp(`no stack ${asked}: .*Pulumi.nowhere.yaml does not exist[\\s\\S]*dev, [\\s\\S]*cp Pulumi`),
  );
});

it("is chosen by one function, in every command", () => {
  const folder = join(__dirname, "../../../cli/commands");
  const others = readdirSync(folder).filter((file) =>
    /--show-name/.test(readFileSync(join(folder, file), "utf8")),
  );
  expect(others).toEqual([]);
});

it("is read from the arguments of pulumi, whatever else they are", () => {
  const word = fc.string({ minLength: 1 }).filter((text) => !text.startsWith("-"));
  const form = fc.constantFrom(
    (name: string) => ["--stack", name],
    (name: string) => ["-s", name],
    (name: string) => [`--stack=${name}`],
  );
  fc.assert(
    fc.property(word, form, fc.array(word), fc.array(word), (name, write, before, after) => {
      expect(stackOption([...before, ...write(name), ...after])).toBe(name);
      expect(stackOption([...before, "--", ...write(name)])).toBe(undefined);
    }),
  );
});
