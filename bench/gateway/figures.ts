/** How the lines of the table are made: rounds in turn, median, spread, goal, verdict. */

/** One line of the table, and what it was made from. */
export type Line = {
  what: string;
  against: string;
  unit: string;
  ours: number[];
  /** Empty where a line has a bound and no comparison. */
  theirs: number[];
  goal: string;
  /** What is held against the goal. */
  result: string;
  met: boolean;
};

/** A line that could not be measured here, and why; `failed` where it should have been. */
export type Skipped = { what: string; reason: string; failed?: boolean };

/** Measures both sides in turn; the values of each. */
export async function alternate(
  rounds: number,
  ours: () => Promise<number>,
  theirs: () => Promise<number>,
): Promise<{ ours: number[]; theirs: number[] }> {
  const [mine = [], other = []] = await inTurn(rounds, [ours, theirs]);
  return { ours: mine, theirs: other };
}

/** Measures all sides in turn, each round in the other order; the first round warms up. */
export async function inTurn(rounds: number, sides: (() => Promise<number>)[]): Promise<number[][]> {
  const values = sides.map((): number[] => []);
  for (let round = -1; round < rounds; round++) {
    const order = [...sides.entries()];
    if (round % 2 === 0) order.reverse();
    for (const [side, measure] of order) {
      const value = await measure();
      if (round >= 0) values[side]?.push(value);
    }
  }
  return values;
}

/** The value in the middle; NaN of none. */
export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** The value below which that part of all values lies. */
export function quantile(values: number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export const NO_GOAL = "none";
export type Goal = { atLeast: number } | { atMost: number };

/** A line whose result is the ratio of the medians; without a goal it only tells. */
export function ratioLine(
  line: Pick<Line, "what" | "against" | "unit" | "ours" | "theirs">,
  goal?: Goal,
): Line {
  const ratio = median(line.ours) / median(line.theirs);
  const result = `${ratio.toFixed(2)} ×`;
  if (!goal) return { ...line, goal: NO_GOAL, result, met: true };
  return { ...line, goal: `${words(goal)} ×`, result, met: meets(ratio, goal) };
}

export const words = (goal: Goal): string => ("atLeast" in goal ? `≥ ${goal.atLeast}` : `≤ ${goal.atMost}`);

export const meets = (value: number, goal: Goal): boolean =>
  "atLeast" in goal ? value >= goal.atLeast : value <= goal.atMost;

/** The table, for people. */
export function table(lines: Line[], skipped: Skipped[]): string {
  const head = "| what | ours: median (spread) | against | median (spread) | result | goal | verdict |";
  const rows = lines.map((line) => {
    const verdict = line.goal === NO_GOAL ? "" : line.met ? "met" : "MISSED";
    const cells = [line.what, spread(line.ours, line.unit), line.against, spread(line.theirs, line.unit)];
    return `| ${[...cells, line.result, line.goal, verdict].join(" | ")} |`;
  });
  const rest = skipped.map(
    ({ what, reason, failed }) => `${failed ? "FAILED" : "skipped"}: ${what}: ${reason}`,
  );
  return [head, "| --- | --- | --- | --- | --- | --- | --- |", ...rows, ...rest].join("\n");
}

function spread(values: number[], unit: string): string {
  if (values.length === 0) return "";
  const [low, middle, high] = [Math.min(...values), median(values), Math.max(...values)].map(short);
  return `${middle} ${unit} (${low}–${high})`;
}

const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
