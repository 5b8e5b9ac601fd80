import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { baseNameOf, hostNameOf, imageNameOf, tooLongForEmulated } from "../../../../components/host/names";
import { Microsandbox } from "../../../../components/microsandbox";
import { healthyHost, type Registered, registered } from "../../../harness/pulumi-mocks";

const onHost = (resources: Registered[]) =>
  resources
    .filter(({ type }) => /^docker:index.*:(Container|Network|Volume)$/.test(type))
    .map(({ inputs }) => inputs.name);

/** Names of what a program makes on its host, in a project and the stack `dev`. */
const namesIn = async (project: string, program: () => unknown) =>
  onHost(await registered(program, healthyHost, "dev", { project })).sort();

describe("what is deployed already", () => {
  it("keeps its names: those that commit 659e3d2 gave it", async () => {
    expect(await namesIn("microsandbox", () => new Microsandbox("microsandbox", {}))).toEqual(
      [
        "microsandbox-dev",
        "microsandbox-dev-server",
        "microsandbox-dev-state",
        "microsandbox-dev-workspace",
      ].sort(),
    );
    expect(await namesIn("microsandbox", () => new Microsandbox("microsandbox-b", {}))).toContain(
      "microsandbox-b-dev-server",
    );
  });

  it("under any other name keeps it with an option", async () => {
    const names = await namesIn(
      "shop",
      () => new Microsandbox("sandboxes", {}, { baseName: "sandboxes-dev" }),
    );
    expect(names).toEqual([
      "sandboxes-dev",
      "sandboxes-dev-server",
      "sandboxes-dev-state",
      "sandboxes-dev-workspace",
    ]);
  });
});

describe("names on the host", () => {
  it("hold project and stack: two projects live side by side", async () => {
    const [shop, office] = [
      await namesIn("shop", () => new Microsandbox("sandboxes", {})),
      await namesIn("office", () => new Microsandbox("sandboxes", {})),
    ];
    expect(shop).toContain("shop-sandboxes-dev-state");
    expect(shop.filter((name) => office.includes(name))).toEqual([]);
  });

  const word = fc.stringMatching(/^[A-Za-z0-9_.-]{1,40}$/);
  it("are names that Docker takes, whatever project, service and stack are called", () => {
    fc.assert(
      fc.property(word, fc.string({ minLength: 1, unit: "grapheme" }), word, (project, name, stack) => {
        const baseName = baseNameOf(name, { project: `p${project}`, stack });
        expect(baseName).toMatch(/^[A-Za-z0-9][\w.-]+$/);
        expect(imageNameOf(baseName)).toMatch(/^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/);
        expect(hostNameOf(baseName)).toMatch(/^[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/);
      }),
    );
  });

  it("of images are the same where they were names of images", () => {
    for (const name of ["microsandbox-dev", "microsandbox-b-dev", "microsandbox-test_a.b"])
      expect(imageNameOf(name)).toBe(name);
    expect(imageNameOf("microsandbox-Prod")).toBe("microsandbox-prod");
  });
});

describe("the name of an emulated host", () => {
  it("has at most 63 characters: the error says how many the stack's may have", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), (length) => {
        const stack = "n".repeat(length);
        const error = tooLongForEmulated(
          baseNameOf("microsandbox", { project: "microsandbox", stack }),
          stack,
        );
        if (length <= 50) expect(error).toBeUndefined();
        else expect(error).toMatch(/at most 50 in the[\s\S]*npm run up -- --stack NAME/);
      }),
    );
  });

  it("that is too long is refused before anything is run", async () => {
    const baseName = "n".repeat(90);
    const asked: string[] = [];
    const program = () => new Microsandbox("microsandbox", { host: "emulated" }, { baseName });
    await expect(registered(program, { ...healthyHost, asked })).rejects.toThrow(
      /n is too long: it has 90 characters/,
    );
    expect(asked.filter((line) => line.includes("emulated-host"))).toEqual([]);
  });
});
