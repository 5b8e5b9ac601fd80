import { linesToType } from "./named-stack";
import { UserError } from "./user-error";

/** Runs a program to its end. An error of the user's is printed without a stack trace; anything else is a bug. */
export async function runProgram(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    console.error(`\n${linesToType(error.message)}`);
    process.exitCode = error.exitCode;
  }
}
