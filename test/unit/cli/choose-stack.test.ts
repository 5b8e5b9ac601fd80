import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { stateFolder } from "../../../cli/backend";
import { isOnCluster, isOnEmulatedCluster } from "../../../cli/cluster";
import { stackOption } from "../../../cli/commands/pulumi";
import { withKeysLocked } from "../../../cli/keys/stack-keys";
import { chooseStack, hasStack, withoutProject } from "../../../cli/stack";
import { projectName, stackFile } from "../../../setup/project";
import { createReporter } from "../../../setup/report";

const report = createReporter({ write: () => undefined });
/** A pulumi with these stacks, one of them selected. */
const having = (stacks: string[], selected?: string) => [
  {
    read: async ([command, ...args]: string[]) => {
      expect(command).toBe("stack");
      if (args.includes("--stack")) {
        if (stacks.includes(args.at(-1) ?? "")) return "";
        throw new Error(`error: no stack named '${args.at(-1)}' found`);
      }
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

/** A pulumi whose backend does not answer. */
const failing = (words: string) => [{ read: () => Promise.reject(new Error(`error: ${words}`)) }];
const failures = fc.constantFrom(
  "PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
  'performing HTTP request: Get "https://api.pulumi.com/api/user": dial tcp: i/o timeout',
  "read .pulumi/meta.yaml: 503 Service Unavailable",
);

it("is never another one because a backend that was asked first does not answer", async () => {
  const place = fc.constantFrom("none", "prod", "fails");
  await fc.assert(
    fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 3 }), failures, async (places, words) => {
      const all = places.flatMap((each) =>
        each === "fails" ? failing(words) : having([], each === "prod" ? each : undefined),
      );
      const first = places.find((each) => each !== "none");
      const chosen = chooseStack(undefined, all, report);
      if (first === "fails")
        await expect(chosen).rejects.toThrow(
          /^Which stack is selected can't be read: error: [\s\S]*--stack NAME/,
        );
      else if (first === "prod") expect(await chosen).toBe("prod");
      else expect(["dev", "emulated"]).toContain(await chosen);
    }),
    { numRuns: 50 },
  );
});

it("without a settings file is one that a backend has, and none only where all of them have said so", async () => {
  const place = fc.constantFrom("none", "elsewhere", "fails");
  await fc.assert(
    fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 3 }), failures, async (places, words) => {
      const all = places.flatMap((each) => (each === "fails" ? failing(words) : having([each])));
      const chosen = chooseStack("elsewhere", all, report);
      if (places.includes("elsewhere")) expect(await chosen).toBe("elsewhere");
      else if (places.includes("fails")) await expect(chosen).rejects.toThrow(words);
      else await expect(chosen).rejects.toThrow("There is no stack elsewhere");
    }),
    { numRuns: 50 },
  );
});

it("needs no settings file where the backend has the stack", async () => {
  expect(await chooseStack("elsewhere", having(["elsewhere"]), report)).toBe("elsewhere");
  expect(await chooseStack(undefined, having(["elsewhere"], "elsewhere"), report)).toBe("elsewhere");
});

it.each(["nowhere", "org/nowhere"])("says which stacks there are, of %s", async (asked) => {
  await expect(chooseStack(asked, having(["dev"]), report)).rejects.toThrow(
    new RegExp(
      `no stack ${asked}: .*Pulumi.nowhere.yaml does not exist[\\s\\S]*dev, [\\s\\S]*cp Pulumi\\S* Pulumi.nowhere.yaml`,
    ),
  );
});

it("to be made is copied from a template of the project, never from another stack's file", async () => {
  const own = stackFile(`aaa-${process.pid}`);
  writeFileSync(own, "encryptionsalt: v1:x\n");
  try {
    await expect(chooseStack("nowhere", [], report)).rejects.toThrow(
      /cp Pulumi\.dev\.yaml Pulumi\.nowhere\.yaml/,
    );
  } finally {
    rmSync(own);
  }
});

it("has a name that Pulumi takes", async () => {
  const bad = fc.stringMatching(/^[A-Za-z]{0,5}[^A-Za-z0-9_./-][a-z]{0,5}$/);
  await fc.assert(
    fc.asyncProperty(bad, async (name) => {
      await expect(chooseStack(name, [], report)).rejects.toThrow(
        /can't be the name of a stack\.\nExpected: at most 100/,
      );
    }),
  );
  await expect(chooseStack("n".repeat(101), [], report)).rejects.toThrow("can't be the name");
});

it("has a settings file whose mistakes in YAML are told with the file and the line", async () => {
  const name = `broken-${process.pid}`;
  writeFileSync(
    stackFile(name),
    "config:\n  microsandbox:host: local\n  microsandbox:devMode: true\n\tmicrosandbox:x: 1\n",
  );
  try {
    await expect(chooseStack(name, having([name]), report)).rejects.toThrow(
      new RegExp(`^Pulumi\\.${name}\\.yaml is not valid YAML: .* at line 4, column \\d+\\.\nCorrect it`),
    );
  } finally {
    rmSync(stackFile(name));
  }
});

it("is one stack, however it is called: alone, of its organization or of its project", async () => {
  const part = fc.stringMatching(/^[a-z][a-z0-9._-]{0,8}$/).filter((word) => word !== "organization");
  await fc.assert(
    fc.asyncProperty(part, fc.option(part, { nil: "organization" }), async (name, organization) => {
      const known = organization === "organization" ? name : `${organization}/${name}`;
      for (const asked of [`${organization}/${name}`, `${organization}/${projectName()}/${name}`]) {
        expect(await chooseStack(asked, having([known]), report)).toBe(known);
        expect(await chooseStack(undefined, having([known], asked), report)).toBe(known);
        expect(stackFile(asked)).toBe(stackFile(name));
      }
      expect(withoutProject(name)).toBe(name);
      expect(() => withoutProject(`${organization}/other${projectName()}/${name}`)).toThrow(
        "is not a stack of this project",
      );
    }),
  );
});

it("is in the backend where pulumi finds it; any other failure is no answer", async () => {
  const [pulumi] = having(["org/prod"]);
  if (!pulumi) throw new Error("none");
  expect(await hasStack("org/prod", pulumi)).toBe(true);
  expect(await hasStack("prod", pulumi)).toBe(false);
  const noCloud = {
    read: () => Promise.reject(new Error("error: organization name must be 'organization'")),
  };
  expect(await hasStack("org/prod", noCloud)).toBe(false);
  const unreachable = { read: () => Promise.reject(new Error("error: could not reach the backend")) };
  await expect(hasStack("prod", unreachable)).rejects.toThrow("could not reach");
});

it("locks the changes of its keys, whatever it is called", async () => {
  const name = `test-${process.pid}`;
  const order: string[] = [];
  const change = (asked: string) =>
    withKeysLocked(asked, report, async () => {
      order.push("begins");
      await new Promise((wake) => setTimeout(wake, 50));
      order.push("ends");
    });
  await Promise.all([change(`org/${name}`), change(name)]);
  rmSync(join(stateFolder, `keys-${name}`));
  expect(order).toEqual(["begins", "ends", "begins", "ends"]);
});

it("says that the lock of its keys was lost, as after a sleep of the machine, and ends well", async () => {
  const name = `test-lost-${process.pid}`;
  const said: string[] = [];
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const telling = createReporter({ write: (line) => said.push(line) });
    const change = withKeysLocked(name, telling, async () => {
      // What another run does with a lock that nobody has touched for 20 s.
      rmSync(join(stateFolder, `keys-${name}.lock`), { recursive: true });
      vi.advanceTimersByTime(5_000);
      // Its own look at the lock has ended long before these.
      for (let turn = 0; turn < 50; turn++) await readdir(stateFolder);
      return "done";
    });
    expect(await change).toBe("done");
  } finally {
    vi.useRealTimers();
    rmSync(join(stateFolder, `keys-${name}`));
  }
  expect(said.join()).toMatch(/another one may have changed the keys of stack test-lost/);
});

it("is chosen by one function, in every command", () => {
  const folder = join(__dirname, "../../../cli/commands");
  const others = readdirSync(folder).filter((file) =>
    /--show-name|"stack", "ls"/.test(readFileSync(join(folder, file), "utf8")),
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

it("is on a cluster where its settings file says so, in any way of writing it", () => {
  const name = "test-on-cluster";
  const isOne = (config: string) => {
    writeFileSync(stackFile(name), config);
    return isOnCluster(name);
  };
  try {
    expect(isOnCluster(name)).toBe(false);
    for (const other of ["", "config:\n", "config: {}\n", 'config: {"microsandbox:hostPort": "5555"}\n'])
      expect(isOne(other), other).toBe(false);
    fc.assert(
      fc.property(fc.nat(20), fc.boolean(), fc.boolean(), (servers, asText, emulated) => {
        const settings = emulated ? { servers, emulated: { nodes: 2 } } : { servers };
        const cluster = asText ? JSON.stringify(settings) : settings;
        expect(isOne(JSON.stringify({ config: { "microsandbox:cluster": cluster } }))).toBe(servers > 0);
        expect(isOnEmulatedCluster(name)).toBe(servers > 0 && emulated);
      }),
      { numRuns: 30 },
    );
  } finally {
    rmSync(stackFile(name), { force: true });
  }
});
