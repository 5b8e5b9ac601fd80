// A program of the test that starts it with few descriptors: runs one where none is left, and prints what becomes of it.
import { closeSync, openSync } from "node:fs";
import { runProcess } from "../../../docker/gateway/src/backends/msb/process";

process.on("unhandledRejection", (error) => console.log(`unhandled: ${error}`));
const open: number[] = [];
try {
  for (;;) open.push(openSync("/dev/null", "r"));
} catch {
  // None is left.
}
const ran = runProcess("/bin/true", [], { env: {}, timeoutMs: 1000 }).then(
  ({ code }) => `ended with ${code}`,
  (error) => `${error.kind}`,
);
ran.then((said) => {
  for (const each of open) closeSync(each);
  setTimeout(() => console.log(said), 100);
});
