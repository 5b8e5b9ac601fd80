import { parseArgs } from "node:util";
import { runProgram } from "../setup/run-program";
import { UserError } from "../setup/user-error";
import { benchGateway } from "./gateway";
import { benchNoop } from "./noop";

/** `npm run bench`, `npm run bench:noop`: each line is measured against something to compare with. */
void runProgram(async () => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    // gateway: a deployed stack, for what needs a microVM
    options: { stack: { type: "string" } },
  });
  const [name = ""] = positionals;
  if (name === "noop") return benchNoop();
  if (name === "gateway") return benchGateway(values);
  throw new UserError(`There is no benchmark ${name}. Benchmarks: noop, gateway.`);
});
