// Loaded into the measured gateway: tells, when it is asked by a message, for how many milliseconds of its CPU's time the
// event loop did one thing at the longest since it was asked before. Time for which the machine gave the CPU to others is
// not the gateway's.
const { readFileSync } = require("node:fs");

/** Nanoseconds that the main thread has run. */
const ran = () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]);

let longest = 0;
let before = ran();
const tick = setInterval(() => {
  const now = ran();
  longest = Math.max(longest, now - before);
  before = now;
}, 5);
tick.unref();
process.on("message", () => {
  // What came before this message belongs to the answer.
  setTimeout(() => {
    process.send({ longest: longest / 1e6 });
    longest = 0;
  }, 20);
});
process.channel?.unref();
