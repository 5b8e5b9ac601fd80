import { beforeEach } from "vitest";
import { settingsAreIn } from "../../components/settings/message-commands";
import { cleanUpAtFileEnd } from "../harness/file-end";

cleanUpAtFileEnd();
// A process is one program; here many tests share one.
beforeEach(() => settingsAreIn(undefined));
