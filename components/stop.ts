import * as pulumi from "@pulumi/pulumi";
import { VisibleError } from "./errors";

/** Pulumi's sign for "the program has told the user what is wrong": the language host adds nothing to it. */
const toldTheUser = 32;

/**
 * Runs a check of what an output has brought. Where it finds the user's mistake, the program ends right there with
 * its sentence. (Thrown on, the error would pass through every input that waits for the output, and come out with
 * a chain of "error serializing property" and a stack trace.)
 */
export async function orStop<T>(check: () => T): Promise<T> {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof VisibleError)) throw error;
    await pulumi.log.error(error.message);
    process.exit(toldTheUser);
  }
}
