/**
 * How many times as long as the {@link baseline} the event loop may be held: 200 ms on the machine for which that was
 * said, where the baseline takes 12. Measured beside each other, both take longer where others use the machine too.
 */
export const MOST_TIMES = 16;

const measured = JSON.stringify(
  Array.from({ length: 20_000 }, (_each, index) => ({ key: `k${index}`, value: [index, "x".repeat(60)] })),
);
/** Milliseconds of CPU that it takes to read a body about as large as the limit and to write it again. */
export function baseline(): number {
  const rounds = Array.from({ length: 3 }, () => {
    const used = process.cpuUsage();
    JSON.stringify(JSON.parse(measured));
    const { user, system } = process.cpuUsage(used);
    return (user + system) / 1e3;
  });
  return Math.min(...rounds);
}
