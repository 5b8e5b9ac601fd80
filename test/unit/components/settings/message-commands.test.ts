import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, expect, it } from "vitest";
import { script } from "../../../../components/host/scripts";
import {
  asArguments,
  asNpmScripts,
  pulumiOutput,
  withStack,
} from "../../../../components/settings/message-commands";
import { hostMessage, VisibleError } from "../../../../components/settings/visible-error";

afterEach(() => {
  delete process.env.PULUMI_NODEJS_STACK;
});

/** The lines of the components' sources. */
function linesOfComponents(): string[] {
  const folder = join(__dirname, "../../../../components");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const sources = files.filter(
    (file) => /\.(ts|sh)$/.test(file) && !/^(args|settings\/message-commands)/.test(file),
  );
  return sources.flatMap((file) => readFileSync(join(folder, file), "utf8").split("\n"));
}

/** Those that set or remove a setting. */
const remediesOfComponents = () =>
  linesOfComponents().filter((line) => /pulumi config (set|rm).*microsandbox:\w/.test(line));

it.each([
  ["Then: npm run up", "Then: npm run up -- --stack s"],
  [
    "npm run pulumi -- config set version 1 && npm run up",
    "npm run pulumi -- config --stack s set version 1 && npm run up -- --stack s",
  ],
  ["npm run restore -- FILE, into another", "npm run restore -- --stack s FILE, into another"],
  ["npm run keys -- rotate ci", "npm run keys -- rotate --stack s ci"],
  ["(another port: pulumi config set hostPort 1)", "(another port: pulumi config --stack s set hostPort 1)"],
  [
    '"$(npm run --silent pulumi -- stack output apiKey --show-secrets)"',
    '"$(npm run --silent pulumi -- stack output --stack s apiKey --show-secrets)"',
  ],
])("names the stack: %s", (text, expected) => {
  expect(withStack(text, "s")).toBe(expected);
});

it.each([
  "npm run up -- --stack emulated",
  "npm run pulumi -- config set version 1 --stack prod && npm run up -- --stack prod",
  "npm run pulumi -- config --stack prod rm hostPort",
  "what `npm run up` makes",
  "npm run pulumi -- stack ls",
  "npm run test",
  "npm run update-something",
])("leaves as it is: %s", (text) => {
  expect(withStack(text, "s")).toBe(text);
});

it("names it once however often it is asked, whatever is around", () => {
  const part = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "npm run up",
      "npm run keys -- add x",
      "pulumi config rm y",
      "npm run backup -- F",
      " && ",
      "\n",
    ),
  );
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      const once = withStack(parts.join(" "), "s");
      expect(withStack(once, "s")).toBe(once);
      expect(withStack(once, "other")).toBe(once);
    }),
  );
});

it.each([
  [
    "docker stop x   (or another port: pulumi config set microsandbox:hostPort 5556)",
    "docker stop x   (or another port: the argument hostPort: 5556)",
  ],
  [
    "another key: pulumi config --stack s set microsandbox:sshKeyFile PATH)",
    "another key: the argument sshKeyFile)",
  ],
  [
    "fix: openssl rand -hex 32 | pulumi config set --secret microsandbox:apiKey --stack s",
    "fix: the argument apiKey",
  ],
  [
    "keep: pulumi config set microsandbox:version 0.6.18 && pulumi up",
    "keep: the argument version: 0.6.18, then: pulumi up",
  ],
  [
    "pulumi config set --secret --path microsandbox:tls.key < server.key && pulumi up",
    "the argument tls.key, then: pulumi up",
  ],
  ["pulumi config rm microsandbox:hostPort", "no argument hostPort"],
  [
    '"to use it: pulumi config set microsandbox:version $found --stack $STACK"',
    '"to use it: the argument version: $found"',
  ],
])("is an argument in a program that reads no configuration: %s", (text, expected) => {
  expect(asArguments(text)).toBe(expected);
});

it.each([
  [
    "fix: pulumi config set microsandbox:hostPort 5556",
    "fix: npm run pulumi -- config set microsandbox:hostPort 5556",
  ],
  [
    "x | pulumi config set --secret y < f && pulumi up",
    "x | npm run pulumi -- config set --secret y < f && npm run up",
  ],
  [
    '"$(pulumi stack output k --show-secrets)"',
    '"$(npm run --silent pulumi -- stack output k --show-secrets)"',
  ],
  ["fix: pulumi config get a:keys > f", "fix: npm run --silent pulumi -- config get a:keys > f"],
  ["to see it: pulumi stack export --stack s", "to see it: npm run pulumi -- stack export --stack s"],
])("is an npm script where pulumi need not be on the PATH: %s", (text, expected) => {
  expect(asNpmScripts(text)).toBe(expected);
  expect(asNpmScripts(expected)).toBe(expected);
  expect(withStack(expected, "s")).toContain("--stack s");
});

it.each([
  ["Then: pulumi up", "Then: npm run up -- --stack s"],
  [
    "as it was, then: pulumi destroy; and: pulumi up",
    "as it was, then: npm run destroy -- --stack s; and: npm run up -- --stack s",
  ],
  ["  to go on: pulumi up", "  to go on: npm run up -- --stack s"],
  [
    "on it:   pulumi stack init emulated --no-select && pulumi up --stack emulated",
    "on it:   npm run pulumi -- stack init emulated --no-select && npm run up -- --stack emulated",
  ],
])("is one that npm passes on once the program has named the stack: %s", (text, expected) => {
  expect(asNpmScripts(withStack(text, "s"))).toBe(expected);
  expect(asNpmScripts(expected)).toBe(expected);
});

it("no line to type of the components is left to a pulumi that is not on the PATH, nor its options to npm", () => {
  const lines = linesOfComponents().filter(
    (line) => /pulumi (up|destroy)/.test(line) && !/^\s*(\/\/|\/?\*|#)/.test(line),
  );
  const typed = lines.map((line) => asNpmScripts(withStack(line, "s")));
  expect(typed.length).toBeGreaterThan(5);
  expect(
    typed.filter((line) => /(?<![`(\w])pulumi (up|destroy)(?! failed)|npm run (up|destroy) --\w/.test(line)),
  ).toEqual([]);
});

it("no message that only speaks of pulumi becomes a line to type; what Pulumi advises does", () => {
  const spoken = [
    "pulumi config failed: no",
    "what `pulumi config` has",
    "pulumi up failed",
    "npm run pulumi -- up",
  ];
  expect(spoken.map(asNpmScripts)).toEqual(spoken);
  expect(pulumiOutput("To remove the stack completely, run `pulumi stack rm dev`.")).toBe(
    "To remove the stack completely, run `npm run pulumi -- stack rm dev`.",
  );
});

it("each remedy of the components is one for the npm scripts", () => {
  const written = remediesOfComponents().map(asNpmScripts);
  expect(written.filter((line) => /(?<!-- |`)pulumi config/.test(line))).toEqual([]);
});

it("no remedy of the components is left a line that sets nothing", () => {
  const remedies = remediesOfComponents();
  expect(remedies.length).toBeGreaterThan(20);
  expect(remedies.map(asArguments).filter((line) => line.includes("pulumi config"))).toEqual([]);
});

it("is named in all that a program under Pulumi tells, also of one host among several", () => {
  process.env.PULUMI_NODEJS_STACK = "prod";
  const { message } = new VisibleError("It is taken.\n  npm run pulumi -- config set hostPort 1");
  expect(message).toContain("config --stack prod set hostPort 1");
  expect(hostMessage("east", message)).toContain("config --stack prod set --path hosts.east.hostPort 1");
  const words = ["host/kvm-check", "host/preflight", "server/boot-check", "server/upgrade"] as const;
  const lines = words
    .flatMap((name) => script(name).split("\n"))
    .filter((line) => /config (set|rm)/.test(line));
  expect(lines).toEqual([]);
});

it.each([
  ["pulumi config rm microsandbox:sshHostKey", "pulumi config rm --path microsandbox:hosts.east.sshHostKey"],
  ["pulumi config rm --path microsandbox:tls.key", "pulumi config rm --path microsandbox:hosts.east.tls.key"],
  [
    "pulumi config rm --path 'microsandbox:images[1]'",
    "pulumi config rm --path 'microsandbox:hosts.east.images[1]'",
  ],
  [
    "pulumi config set --secret --path microsandbox:tls.key < f",
    "pulumi config set --secret --path microsandbox:hosts.east.tls.key < f",
  ],
  [
    "pulumi config rm --path microsandbox:hosts.east.port",
    "pulumi config rm --path microsandbox:hosts.east.port",
  ],
])("is about that host's own settings: %s", (line, expected) => {
  expect(hostMessage("east", line)).toBe(`Host east: ${expected}`);
});

it("no script tells a program of somebody else's to run an npm script, without saying where", () => {
  const root = join(__dirname, "../../../..");
  const scripts = ["components", "emulated-host"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".sh"))
      .map((name) => join(root, folder, name)),
  );
  const lines = scripts.flatMap((file) => readFileSync(file, "utf8").split("\n"));
  const told = lines.filter((line) => /npm run/.test(line) && !/^\s*#/.test(line));
  expect(lines.length).toBeGreaterThan(1000);
  expect(told.filter((line) => !line.includes("in a clone of this project's repository"))).toEqual([]);
});
