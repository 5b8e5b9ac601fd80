import { syncBuiltinESMExports } from "node:module";
import v8 from "node:v8";

const real = v8.getHeapStatistics;

/** Has the figures of the heap be others, for whoever asks for them; without a change they are the real ones again. */
export function fakeHeap(change?: Partial<v8.HeapInfo>): void {
  v8.getHeapStatistics = change ? () => ({ ...real(), ...change }) : real;
  syncBuiltinESMExports();
}
