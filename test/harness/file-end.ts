import { afterAll } from "vitest";

const cleanups: (() => unknown)[] = [];

/**
 * Does something once the current test file is done. A harness's own `afterAll` would hold for the first file of a
 * process alone.
 */
export function atFileEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** For vitest's setup file, which runs anew for each test file. */
export function cleanUpAtFileEnd(): void {
  afterAll(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
}
