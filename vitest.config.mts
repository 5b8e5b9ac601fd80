import { defineConfig } from "vitest/config";

// A bash at the first level whose input is a socket, as Node's pipes are, takes itself for a remote login and reads
// ~/.bashrc. Tests don't depend on that file, and end scripts at any moment: a lock that it takes would stay.
process.env.SHLVL = "2";

/** One project per kind of test; `npm test` runs them in this order. */
export default defineConfig({
  test: {
    // Most unit tests wait for processes of theirs.
    maxWorkers: 6,
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          setupFiles: "test/unit/setup.ts",
          testTimeout: 60_000,
          // A busy machine takes its time to end what a file has started.
          hookTimeout: 60_000,
          // Files share a process, and load Pulumi and the gateway once: a third of the time. What a test sets up, it
          // takes down; of the environment this does.
          isolate: false,
          unstubEnvs: true,
        },
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          setupFiles: "test/harness/deadline.ts",
          // Two side by side: one alone leaves nearly half of two cores idle.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 15 * 60_000,
          hookTimeout: 15 * 60_000,
        },
      },
      {
        test: {
          name: "cluster",
          include: ["test/cluster/**/*.test.ts"],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
          testTimeout: 15 * 60_000,
          hookTimeout: 15 * 60_000,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          setupFiles: "test/harness/deadline.ts",
          // Two at once, with arm64, which is first: a QEMU uses one of two cores.
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
          testTimeout: 20 * 60_000,
          hookTimeout: 40 * 60_000,
        },
      },
      {
        test: {
          name: "arm64",
          include: ["test/arm64/**/*.test.ts"],
          setupFiles: "test/harness/deadline.ts",
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
          testTimeout: 20 * 60_000,
          hookTimeout: 10 * 60_000,
        },
      },
    ],
  },
});
