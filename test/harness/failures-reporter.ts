import { writeFileSync } from "node:fs";
import type { SerializedError } from "vitest";
import type { Reporter, TestModule } from "vitest/node";

/** Environment variable with the file that the reporter writes. */
export const FAILURES_FILE = "MICROSANDBOX_TEST_FAILURES";

/** A test, a hook of a suite or of a file, or a process, that failed. */
export interface Failure {
  /** The file and the names down to the test. */
  name: string;
  /** What each of its errors says. */
  messages: string[];
}

/**
 * Reporter for vitest: all that failed in a run as JSON, what failed outside of a test too. Vitest's own JSON knows
 * nothing of a hook that failed after the tests, nor of an error that nobody waited for.
 */
export default class FailuresReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const failures = modules.flatMap(failuresOf);
    if (unhandled.length > 0)
      failures.push({ name: "outside of the tests", messages: unhandled.map(textOf) });
    const file = process.env[FAILURES_FILE];
    if (file !== undefined) writeFileSync(file, JSON.stringify(failures));
  }
}

function failuresOf(module: TestModule): Failure[] {
  const failures: Failure[] = [];
  const add = (name: string, errors: readonly SerializedError[]) => {
    if (errors.length > 0) failures.push({ name, messages: errors.map(textOf) });
  };
  const file = `${module.project.name}: ${module.relativeModuleId}`;
  add(file, module.errors());
  for (const suite of module.children.allSuites()) add(`${file} > ${suite.fullName}`, suite.errors());
  for (const test of module.children.allTests())
    add(`${file} > ${test.fullName}`, test.result().errors ?? []);
  return failures;
}

/** The place in a test and what was expected, without the rest of the stack. */
function textOf({ message, stack, diff }: SerializedError): string {
  const place = stack?.split("\n").find((line) => line.includes("/test/"));
  return [message, diff, place?.trim()].filter(Boolean).join("\n");
}
