import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { StateResource } from "../../../../cli/deploy/drift";
import { certificateFindings } from "../../../../cli/deploy/served-certificate";
import { parseSettings } from "../../../../components/settings/parse-settings";
import { testAuthority } from "../../../harness/authority";

const DAY = 24 * 3_600_000;
const folder = mkdtempSync(join(tmpdir(), "microsandbox-served-"));
afterAll(() => rmSync(folder, { recursive: true }));
const authority = testAuthority();

/** The file of a server, and a docker client that runs a command in its container. */
const [bin, served, told] = ["bin", "served", "told"].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
mkdirSync(bin);
writeFileSync(
  join(bin, "docker"),
  `#!/bin/sh\n[ "$1 $2 $3" = "exec microsandbox-dev-server sed" ] && sed -n "$5" "${served}" | tee "${told}"\n`,
  { mode: 0o755 },
);
const environment = { PATH: `${bin}:${process.env.PATH}` };

const urn = (type: string, name: string) => `urn:pulumi:dev::microsandbox::${type}::${name}`;
const service = urn("microsandbox:index:Microsandbox", "microsandbox");
const deployed: StateResource[] = [
  { urn: service, type: "microsandbox:index:Microsandbox" },
  {
    urn: urn("microsandbox:index:Tls", "microsandbox-tls"),
    type: "microsandbox:index:Tls",
    parent: service,
    outputs: { authority: authority.certificate },
  },
];

async function findings(tls: object, pem: string | undefined, resources = deployed) {
  if (pem === undefined) rmSync(served, { force: true });
  else writeFileSync(served, pem);
  const host = { ...parseSettings({ tls, devMode: false }), name: "default", baseName: "microsandbox-dev" };
  return certificateFindings(host, { stack: "dev", resources, environment, engineAnswers: true });
}

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());

describe("doctor looks at the certificate that the server has", () => {
  const renew = "npm run up -- --stack dev   (gives it a new one)";

  it("of the stack's own CA: nothing until 30 days before its end, then the line that renews it", async () => {
    const now = Date.now();
    const pem = authority.issue(["127.0.0.1"]);
    const inDays = async (days: number) => {
      vi.setSystemTime(now + days * DAY);
      return findings({ generate: true }, pem);
    };
    expect(await inDays(59)).toMatchObject([
      { verdict: "ok", what: expect.stringMatching(/valid until \d{4}-/) },
    ]);
    expect(await inDays(61)).toMatchObject([
      { verdict: "warns", what: expect.stringMatching(/expires in 2[89] days/), remedy: renew },
    ]);
    expect(await inDays(91)).toMatchObject([
      {
        verdict: "fixes",
        what: expect.stringMatching(/expired on \d{4}-.*clients refuse it/),
        remedy: renew,
      },
    ]);
    expect(readFileSync(told, "utf8")).toMatch(/^-----BEGIN CERTIFICATE-----/);
    expect(readFileSync(told, "utf8")).not.toContain("PRIVATE KEY");
  });

  it("that is the user's, and older than the one of the settings", async () => {
    const pem = authority.issue(["127.0.0.1"]);
    const at = pem.indexOf("-----BEGIN CERTIFICATE");
    const given = { certificate: pem.slice(at), key: pem.slice(0, at) };
    const ok = { verdict: "ok", what: expect.stringContaining("TLS: the certificate is valid") };
    expect(await findings(given, undefined)).toMatchObject([ok]);
    expect(await findings(given, pem)).toMatchObject([ok]);
    expect(await findings(given, authority.issue(["127.0.0.1"], 10))).toMatchObject([
      {
        verdict: "warns",
        what: expect.stringMatching(/server's certificate expires in (9|10) days/),
        remedy: renew,
      },
    ]);
    // Both end: the settings are what has to change.
    vi.setSystemTime(Date.now() + 61 * DAY);
    expect(await findings(given, pem)).toMatchObject([
      {
        verdict: "warns",
        what: expect.stringMatching(/in 2[89] days/),
        remedy: expect.stringContaining("tls.key"),
      },
    ]);
  });

  it("not where there is none yet, or the server does not run", async () => {
    expect(await findings({}, undefined)).toEqual([]);
    expect(await findings({ generate: true }, undefined, [])).toEqual([]);
    expect(await findings({ generate: true }, undefined)).toEqual([]);
  });

  it("and at the CA of the stack's own, which no up renews by itself", async () => {
    vi.setSystemTime(Date.now() + 3_640 * DAY);
    expect(await findings({ generate: true }, undefined)).toMatchObject([
      {
        verdict: "warns",
        what: expect.stringMatching(/own CA.*microsandbox-tls, expires in \d days/),
        remedy: expect.stringContaining(
          "npm run pulumi -- up --stack dev --replace '**::microsandbox-tls-authority'",
        ),
      },
    ]);
  });
});
