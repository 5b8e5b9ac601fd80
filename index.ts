import { deployHosts, readStackSettings, stackOutputs } from "./components";

/** The stack: one sandbox service on each host that the settings name, which is one as a rule. */
export = stackOutputs(deployHosts("microsandbox", readStackSettings()));
