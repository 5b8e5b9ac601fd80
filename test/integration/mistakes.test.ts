import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { docker, ownedBy } from "../harness/docker";
import { freePort, TestStack } from "../harness/stack";

let stack: TestStack;
let occupant: Server;
let takenPort: number;

beforeAll(async () => {
  stack = new TestStack("test-errors", { hostPort: await freePort(), privileged: false });
  takenPort = await freePort();
  occupant = createServer();
  await new Promise<void>((done) => occupant.listen(takenPort, "127.0.0.1", done));
});
afterAll(async () => {
  occupant.close();
  await stack.remove();
});

const errors: [string, () => Record<string, unknown>, RegExp][] = [
  [
    "a size that is none",
    () => ({ memoryLimit: "lots" }),
    /memoryLimit is "lots"[\s\S]*4G[\s\S]*config .*set microsandbox:memoryLimit 4G/,
  ],
  [
    "a reservation above its limit",
    () => ({ cpuLimit: 1, cpuReservation: 2 }),
    /cpuReservation is 2, more than cpuLimit/,
  ],
  ["a port that is none", () => ({ port: 70000 }), /port is "70000"[\s\S]*1 to 65535/],
  ["a misspelt name", () => ({ memorylimits: "4G" }), /memorylimits is not a setting[\s\S]*memoryLimit/],
  [
    "dev mode for everybody",
    () => ({ bindAddress: "0.0.0.0" }),
    /bindAddress is 0\.0\.0\.0[\s\S]*exposeDevMode/,
  ],
  ["a time zone that is none", () => ({ timezone: "Europe/Berlim" }), /timezone[\s\S]*Europe\/Berlin/],
  ["a host that is none", () => ({ host: "ftp://x" }), /host is "?ftp:\/\/x[\s\S]*ssh:\/\/user@address/],
  [
    "a prefix without a slash",
    () => ({ registryPrefix: "mirror.test" }),
    /registryPrefix[\s\S]*mirror\.test\//,
  ],
  ["a taken port", () => ({ hostPort: takenPort }), /port-taken[\s\S]*fix:/],
  [
    "another processor",
    () => ({ architecture: "arm64" }),
    /architecture is arm64, but the host's engine runs on amd64/,
  ],
  ["no key outside dev mode", () => ({ devMode: false, apiKey: "short" }), /apiKey[\s\S]*32 to 256/],
  [
    "a host that nobody answers at",
    () => ({ host: "ssh://root@127.0.0.1:1" }),
    /SSH server can't be reached[\s\S]*refused/,
  ],
];

it.each(errors)("says what is wrong and makes nothing: %s", async (_name, settings, message) => {
  const wrong = settings();
  stack.configure(wrong);
  const { exitCode, output } = await stack.up();
  stack.configure(Object.fromEntries(Object.keys(wrong).map((key) => [key, undefined])));
  if ("hostPort" in wrong) stack.configure({ hostPort: await freePort() });

  expect(exitCode, output).not.toBe(0);
  expect(output).toMatch(message);
  expect(output, "no stack trace").not.toMatch(/^\s+at .*\(.*:\d+:\d+\)/m);
  for (const kind of ["container", "network", "volume"] as const) {
    expect(await ownedBy(stack.name, kind)).toEqual([]);
  }
  expect(await docker("images", "--quiet", "microsandbox-test-errors")).toBe("");
});
