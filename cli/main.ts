import { runProgram } from "../setup/run-program";
import { program } from "./program";

void runProgram(() => program().parseAsync());
