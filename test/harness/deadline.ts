import { beforeEach } from "vitest";

/** When a run of all tests has to come to its end, in milliseconds; unset for a run of one kind. */
const deadline = Number(process.env.TEST_DEADLINE || Infinity);

beforeEach(({ skip, task }) => {
  if (Date.now() < deadline) return;
  const minutes = Math.round((Date.now() - deadline) / 60_000);
  console.log(`Skipped, since the time of this run was over ${minutes} min ago: ${task.name}`);
  skip("no time left");
});
