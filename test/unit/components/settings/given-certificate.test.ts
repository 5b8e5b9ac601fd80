import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { wrongSettings } from "../../../../cli/commands/doctor";
import { checkSettings } from "../../../../components/settings/checks";
import { certificateWarning } from "../../../../components/settings/given-certificate";
import { parseSettings } from "../../../../components/settings/parse-settings";
import type { Fix } from "../../../../components/settings/setting-errors";
import { testAuthority } from "../../../harness/authority";

const DAY = 24 * 3_600_000;
const folder = mkdtempSync(join(tmpdir(), "microsandbox-certificate-"));
afterAll(() => rmSync(folder, { recursive: true }));

const authority = testAuthority();
/** A certificate for some names, with its key: as text, and as files. */
function issued(...names: string[]) {
  const pem = authority.issue(names);
  const at = pem.indexOf("-----BEGIN CERTIFICATE");
  const [certificateFile, keyFile] = ["pem", "key"].map((kind) => join(folder, `${names.join()}.${kind}`));
  const [key, certificate] = [pem.slice(0, at), pem.slice(at)];
  writeFileSync(certificateFile ?? "", certificate);
  writeFileSync(keyFile ?? "", key);
  return { text: { certificate, key }, file: { certificateFile, keyFile } };
}
const local = issued("127.0.0.1", "localhost");
const other = issued("127.0.0.1");
const named = issued("*.example.com", "sandboxes.example.com");
const certificates = [local, other, named, issued("*.example.org")];
const empty = join(folder, "empty");
writeFileSync(empty, "");

const refusal = (tls: object, more: object = {}) => {
  try {
    parseSettings({ tls, ...more }, { stack: "dev" });
  } catch (error) {
    return String(error);
  }
  throw new Error(`accepted: ${JSON.stringify(tls)}`);
};

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());

it.each<[string, object, object?]>([
  ["text", local.text],
  ["files", local.file],
  ["one of each", { certificate: local.text.certificate, keyFile: local.file.keyFile }],
  ["a name that clients use", { ...named.file, names: ["sandboxes.example.com", "a.example.com"] }],
  ["the name of the host", named.file, { host: "ssh://root@kvm.example.com", bindAddress: "0.0.0.0" }],
])("takes a certificate as %s", (_name, tls, more = {}) => {
  expect(() => parseSettings({ tls, devMode: false, ...more })).not.toThrow();
});

it.each<[string, object, RegExp, object?]>([
  ["two of them", { ...local.text, ...local.file }, /a key twice, as text and as a file/],
  [
    "one besides the stack's own",
    { generate: true, ...local.file },
    /has generate true and also your own certificate/,
  ],
  ["no key", { certificateFile: local.file.certificateFile }, /a certificate without a key/],
  ["no certificate", { keyFile: local.file.keyFile }, /a key without a certificate/],
  [
    "the key of another",
    { certificateFile: local.file.certificateFile, keyFile: other.file.keyFile },
    /don't belong together/,
  ],
  [
    "a file that is not there",
    { ...local.file, keyFile: "/none.key" },
    /\/none\.key can't be read \(ENOENT\)/,
  ],
  [
    "a file without a certificate",
    { ...local.file, certificateFile: empty },
    /has no certificate in .*empty/,
  ],
  ["a file without a key", { ...local.file, keyFile: local.file.certificateFile }, /has no private key/],
  [
    "one for another name",
    named.file,
    /for \*\.example\.com, sandboxes\.example\.com, but clients connect to 127\.0\.0\.1[\s\S]*config set --path 'microsandbox:tls\.names\[0\]' sandboxes\.example\.com --stack dev/,
  ],
  [
    "one for another address",
    local.file,
    /clients connect to 10\.1\.2\.3/,
    { bindAddress: "10.1.2.3", devMode: false },
  ],
  [
    "one for some of the names",
    { ...local.file, names: ["127.0.0.1", "example.com"] },
    /connect to example\.com\n/,
  ],
])("refuses %s, and says what to do", (_name, tls, message, more) => {
  const said = refusal(tls, more);
  expect(said).toMatch(message);
  expect(said).toMatch(/fix: {6}(pulumi config .*--stack dev|put .* into .*, then: pulumi up)\n/);
  expect(said).not.toContain("PRIVATE KEY");
});

/** The settings of `tls`, with each of their files copied, as doing what a fix says writes into them. */
function ownFiles(tls: Tls): Tls {
  const entries = Object.entries(tls).map(([name, value]) => {
    if (!name.endsWith("File") || !existsSync(String(value))) return [name, value];
    const copy = join(folder, `copy-${copies++}`);
    copyFileSync(String(value), copy);
    return [name, copy];
  });
  return Object.fromEntries(entries);
}
type Tls = Record<string, unknown>;
let copies = 0;

/** The text of the certificate that the settings give; undefined where there is none. */
function certificateOf({ certificate, certificateFile }: Tls): unknown {
  if (certificate !== undefined || !existsSync(String(certificateFile))) return certificate;
  return readFileSync(String(certificateFile), "utf8");
}

/** The settings after a fix, by one who has a certificate for this machine, and the keys of all others. */
function mended(tls: Tls, { key, value, ask, from, todo }: Fix): Tls {
  const own = certificateOf(tls);
  const right = certificates.find(({ text }) => text.certificate === own) ?? local;
  const name = key.replace(/^tls\./, "");
  if (todo) {
    const [, what = "", file = ""] = /^put (.*) into (\S+)$/.exec(todo) ?? [];
    writeFileSync(file, (what.includes("key") ? right.text.key : local.text.certificate) ?? "");
    return tls;
  }
  if (from || ask) {
    const { text, file } = name.startsWith("certificate") ? local : right;
    const given: Tls = { ...text, ...file };
    return { ...tls, [name]: given[name] };
  }
  if (value === undefined) return Object.fromEntries(Object.entries(tls).filter(([each]) => each !== name));
  if (name === "names[0]") return { ...tls, names: [value] };
  return { ...tls, [name]: /^[[{tf]/.test(value) ? JSON.parse(value) : value };
}

it("asks for the certificate where a key is given alone, whatever wants TLS, and proposes no other", () => {
  const cluster = { cluster: { servers: 2 }, serverImage: `registry.test/server@sha256:${"a".repeat(64)}` };
  const key = fc.constantFrom({ key: local.text.key }, { keyFile: local.file.keyFile });
  const wants = fc.constantFrom<object>(
    ...[
      {},
      { production: true },
      { bindAddress: "0.0.0.0" },
      { production: true, bindAddress: "0.0.0.0" },
      cluster,
    ],
  );
  fc.assert(
    fc.property(key, wants, (tls, more) => {
      const { errors } = checkSettings({ tls, devMode: "false", apiKey: "k".repeat(40), ...more });
      const fixes = errors.flatMap(({ fix }) => fix).filter(({ key: name }) => name.startsWith("tls"));
      expect(fixes).toEqual([{ key: "tls.certificateFile", path: true, ask: "plain" }]);
    }),
  );
});

it("has a fix for each error that ends it, until none is left, whatever is wrong at first", () => {
  const none = join(folder, "none");
  const maybe = <T>(...values: T[]) => fc.constantFrom(undefined, ...values);
  const tlsOf = fc.record({
    generate: maybe(true, false),
    names: maybe<string[]>([], ["127.0.0.1"], ["127.0.0.1", "a.test"], ["a.test", "b.test"]),
    certificate: maybe(...certificates.map(({ text }) => text.certificate)),
    certificateFile: maybe(...certificates.map(({ file }) => file.certificateFile), empty, none),
    key: maybe(...certificates.map(({ text }) => text.key)),
    keyFile: maybe(...certificates.map(({ file }) => file.keyFile), empty, none),
  });
  fc.assert(
    fc.property(tlsOf, (given) => {
      let tls = ownFiles(
        Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
      );
      const problems: string[] = [];
      for (;;) {
        const { errors } = checkSettings({ tls });
        const [error] = errors;
        if (error === undefined) break;
        expect(problems, `${error.problem}, again`).not.toContain(error.problem);
        problems.push(error.problem);
        tls = error.fix.reduce(mended, tls);
      }
    }),
    { numRuns: 300 },
  );
});

it("refuses one that has ended, and one that is not good yet", () => {
  const now = Date.now();
  vi.setSystemTime(now + 91 * DAY);
  expect(refusal(local.text)).toMatch(/certificate that expired on \d{4}-\d\d-\d\d\n/);
  const { certificateFile, keyFile } = local.file;
  const renewed = `put one that is valid today into ${certificateFile}, put its key into ${keyFile}, then: pulumi up`;
  expect(refusal(local.file)).toContain(`fix:      ${renewed}`);
  expect(refusal(local.text)).toContain(
    "pulumi config set --path microsandbox:tls.certificate --stack dev \"$(printf '\\n'; cat server.pem)\" && " +
      "pulumi config set --secret --path microsandbox:tls.key --stack dev < server.key\n",
  );
  vi.setSystemTime(now - 2 * DAY);
  expect(refusal(local.text)).toMatch(/not valid before \d{4}-\d\d-\d\d/);
});

describe("30 days before the end", () => {
  const tls = (given: object) => parseSettings({ tls: given }).tls;

  it("is said, with what to type", () => {
    const now = Date.now();
    const [text, file] = [tls(local.text), tls(local.file)];
    expect(certificateWarning(file, now + 59 * DAY)).toBeUndefined();
    expect(certificateWarning(file, now + 61 * DAY)).toMatchObject({
      what: expect.stringMatching(/expires in 28 days, on/),
      remedy: `Renew ${local.file.certificateFile}, then: pulumi up`,
    });
    expect(certificateWarning(text, now + 61 * DAY)?.remedy).toMatch(
      /config set --secret --path microsandbox:tls\.key </,
    );
    expect(certificateWarning(tls({ generate: true }), now)).toBeUndefined();
  });

  it("is said by doctor after the end", () => {
    vi.setSystemTime(Date.now() + 91 * DAY);
    expect(wrongSettings("dev", checkSettings({ tls: local.text }).errors)).toMatchObject([
      { verdict: "stops", what: expect.stringContaining("expired on") },
    ]);
  });

  it("is no matter where it is for another name: doctor says what to type for that host", () => {
    const east = { host: "ssh://root@10.1.2.3", bindAddress: "0.0.0.0", devMode: false, tls: named.file };
    const { errors } = checkSettings({ hosts: { default: {}, east } });
    expect(wrongSettings("prod", errors)).toMatchObject([
      {
        verdict: "stops",
        what: expect.stringMatching(/hosts\.east\.tls .*clients connect to 10\.1\.2\.3$/),
        remedy: expect.stringContaining(
          "config set --path 'microsandbox:hosts.east.tls.names[0]' sandboxes.example.com",
        ),
      },
    ]);
  });
});
