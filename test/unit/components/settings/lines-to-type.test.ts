import fc from "fast-check";
import { afterEach, expect, it } from "vitest";
import { script } from "../../../../components/host/scripts";
import { hostMessage, VisibleError } from "../../../../components/settings/errors";
import { withStack } from "../../../../components/settings/lines-to-type";

afterEach(() => {
  delete process.env.PULUMI_NODEJS_STACK;
});

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
