import { beforeEach } from "vitest";
import { settingsAreIn } from "../../components/settings/lines-to-type";
import { cleanUpAtFileEnd } from "../harness/file-end";

cleanUpAtFileEnd();
// A process is one program; here many tests share one.
beforeEach(() => settingsAreIn(undefined));
