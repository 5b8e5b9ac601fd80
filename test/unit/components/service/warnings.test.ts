import { X509Certificate } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { afterEach, expect, it, vi } from "vitest";
import type { MicrosandboxArgs } from "../../../../components/args";
import { Microsandbox } from "../../../../components/microsandbox";
import { testAuthority } from "../../../harness/authority";
import { registered } from "../../../harness/pulumi-mocks";

const DAY = 24 * 3_600_000;

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** What a program that makes this server warns of. */
async function warnings(args: MicrosandboxArgs): Promise<string[]> {
  const warn = vi.spyOn(pulumi.log, "warn").mockResolvedValue();
  await registered(() => void new Microsandbox("sandboxes", args));
  const messages = warn.mock.calls.map(([message]) => message);
  warn.mockRestore();
  return messages;
}

it.each([{}, { privileged: true }])(
  "a privileged server is warned of, with the argument that changes it: %j",
  async (args) => {
    const [message, ...others] = await warnings(args);
    expect(message).toMatch(/The server is privileged: .* root on the host/);
    expect(message).toMatch(/the argument privileged: false/);
    expect(others).toEqual([]);
  },
);

it("one without privileges is not warned of", async () => {
  expect(await warnings({ privileged: false })).toEqual([]);
});

it("a certificate is warned of in its last thirty days", async () => {
  const pem = testAuthority().issue(["127.0.0.1", "localhost"]);
  const at = pem.indexOf("-----BEGIN CERTIFICATE");
  const [key, certificate] = [pem.slice(0, at), pem.slice(at)];
  const end = Date.parse(new X509Certificate(certificate).validTo);
  vi.useFakeTimers({ toFake: ["Date"] });
  const warnedBefore = async (days: number) => {
    vi.setSystemTime(end - days * DAY);
    return warnings({ privileged: false, tls: { certificate, key } });
  };
  expect(await warnedBefore(31)).toEqual([]);
  expect(await warnedBefore(29)).toEqual([expect.stringMatching(/certificate/)]);
});
