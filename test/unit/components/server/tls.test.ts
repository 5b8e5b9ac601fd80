import { X509Certificate } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { afterEach, expect, it, vi } from "vitest";
import { Microsandbox } from "../../../../components/microsandbox";
import { certificateScript } from "../../../../components/server/certificate";
import { testAuthority } from "../../../harness/authority";
import { healthyHost, registered } from "../../../harness/pulumi-mocks";

const DAY = 24 * 3_600_000;
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

it("a certificate of our own is good for its names, by its authority, for 90 days", () => {
  const authority = testAuthority();
  const signer = new X509Certificate(authority.certificate);
  const pem = authority.issue(["10.1.2.3", "sandboxes.example.com"]);
  const issued = new X509Certificate(pem.slice(pem.indexOf("-----BEGIN CERTIFICATE")));
  expect(issued.verify(signer.publicKey)).toBe(true);
  expect(issued.checkIP("10.1.2.3")).toBe("10.1.2.3");
  expect(issued.checkHost("sandboxes.example.com")).toBe("sandboxes.example.com");
  expect(issued.checkHost("example.com")).toBeUndefined();
  expect(issued.ca).toBe(false);
  expect(signer.ca).toBe(true);
  const [from, to] = [issued.validFrom, issued.validTo].map(Date.parse);
  expect(Math.abs((to ?? 0) - Date.now() - 90 * DAY)).toBeLessThan(DAY / 24);
  // 27: a client whose clock is an hour behind takes it.
  expect(Date.now() - (from ?? 0)).toBeGreaterThan(DAY / 24);
});

it("the authority's key is exported to no program", () => {
  const script = certificateScript("-----BEGIN PRIVATE KEY-----", ["127.0.0.1"], "serverAuth");
  expect(script).toMatch(/^AUTHORITY=/);
  expect(script).not.toMatch(/export AUTHORITY/);
});

it("keys are secret in the state", async () => {
  const resources = await registered(
    () => new Microsandbox("sandboxes", { tls: { generate: true } }),
    healthyHost,
  );
  const SECRET = "1b47061264138c4ac30d75fd1eb44270";
  for (const end of ["tls-certificate", "tls-file"]) {
    const found = resources.find(({ name }) => name.endsWith(end));
    expect(Object.values(found?.inputs.stdin ?? {}), end).toContain(SECRET);
  }
});

it("an update of a command that prints a key does not get the key of before in its environment", async () => {
  const resources = await registered(() => new Microsandbox("sandboxes", { tls: { generate: true } }));
  const makers = resources.filter(({ name }) => /-tls-(authority|certificate)$/.test(name));
  expect(makers.map(({ inputs }) => inputs.addPreviousOutputInEnv)).toEqual([false, false]);
});

it("an up warns of the end of the stack's own CA, which it does not make anew by itself", async () => {
  const warn = vi.spyOn(pulumi.log, "warn").mockResolvedValue();
  const printed = { "sandboxes-tls-authority": testAuthority().certificate };
  vi.useFakeTimers({ toFake: ["Date"] });
  const now = Date.now();
  const saidAfter = async (days: number) => {
    warn.mockClear();
    vi.setSystemTime(now + days * DAY);
    const program = () => new Microsandbox("sandboxes", { tls: { generate: true }, privileged: false });
    await registered(program, { ...healthyHost, printed });
    return warn.mock.calls.map(([text]) => text);
  };
  expect(await saidAfter(3_600)).toEqual([]);
  expect(await saidAfter(3_645)).toEqual([
    expect.stringMatching(
      /CA.*of sandboxes-tls, expires in 4 days.*\n.*pulumi up --stack dev --replace '\*\*::sandboxes-tls-authority'$/,
    ),
  ]);
  expect(await saidAfter(3_651)).toEqual([expect.stringMatching(/expired on/)]);
});
