import { deployStack } from "./components/stack";

/** The stack: one sandbox service on each host that the settings name, which is one as a rule, or on a cluster. */
export = deployStack();
