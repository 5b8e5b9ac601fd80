import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exec } from "../../setup/exec";
import { createReporter } from "../../setup/report";
import { makeEntry } from "../../setup/tools/cache";
import { UserError } from "../../setup/user-error";
import { clientsCache } from "./clients";

const VERSION = "4.32.5";
const CHECKS = [
  ...["not_a_server_error", "status_code_conformance", "content_type_conformance"],
  ...["response_headers_conformance", "response_schema_conformance"],
];

/**
 * The command line. CPython 3.11's ast.parse fails with a SystemError at some depths of the stack (gh-106905); what
 * calls it here only wants to print a lambda, and goes without if that can't be parsed.
 */
const PROGRAM = `
import ast
from schemathesis.cli import schemathesis

parse = ast.parse

def parse_or_not(*words, **named):
    try:
        return parse(*words, **named)
    except SystemError as error:
        raise SyntaxError(str(error)) from error

ast.parse = parse_or_not
schemathesis()
`;

/** What schemathesis found. */
export type Findings = {
  cases: number;
  failures: { title: string; operations: string[] }[];
  /** Its own errors. */
  errors: { title: string }[];
  /** What it printed, for people. */
  output: string;
};

/**
 * Runs schemathesis against a server's own description for so many seconds. It is installed once, with pip, into
 * the per-user cache.
 * @throws UserError if it can't be installed
 */
export async function schemathesis(url: string, seconds: number, seed: number): Promise<Findings> {
  const packages = await install();
  const folder = mkdtempSync(join(tmpdir(), "schemathesis-"));
  try {
    const report = join(folder, "report.json");
    const options = [
      ...["--checks", CHECKS.join(","), "--continue-on-failure", "--no-shrink", "--workers", "1"],
      ...[
        "--seed",
        String(seed),
        "--max-time",
        String(seconds),
        "--header",
        "Authorization: Bearer msb_test",
      ],
      // Not ready without /dev/kvm, and says so with the 503 it is there for.
      ...["--exclude-path", "/readyz", "--report", "json", "--report-json-path", report],
    ];
    const { all } = await exec("python3", ["-c", PROGRAM, "run", `${url}/openapi.json`, ...options], {
      cwd: folder,
      env: { PYTHONPATH: packages },
      all: true,
      reject: false,
      timeout: (seconds + 60) * 1000,
    });
    const { test_cases, failures, errors } = JSON.parse(readFileSync(report, "utf8"));
    return { cases: test_cases.generated, failures, errors, output: all ?? "" };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function install(): Promise<string> {
  const report = createReporter();
  const entry = `schemathesis-${VERSION}`;
  return makeEntry(clientsCache(), entry, report, (into) =>
    report.step(`Installing ${entry} into ${clientsCache()}`, async () => {
      const words = ["install", "--quiet", "--disable-pip-version-check", "--target", into];
      const { exitCode, all } = await exec("python3", ["-m", "pip", ...words, `schemathesis==${VERSION}`], {
        all: true,
        reject: false,
      });
      if (exitCode !== 0)
        throw new UserError(
          `schemathesis could not be installed:\n${all}\nIt needs Python 3.10 or newer with pip: apt-get install python3 python3-pip`,
        );
    }),
  );
}
