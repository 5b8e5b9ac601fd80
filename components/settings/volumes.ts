import * as z from "zod";
import { flag, optionalText, settingMeta } from "./fields";

const VOLUME = /^[a-zA-Z0-9][\w.-]{1,127}$/;
const acceptsVolume = "a volume name: at least 2 letters, digits, `_`, `.` or `-`";

/** The server's two volumes. */
export const volumes = z.strictObject({
  state: optionalText(VOLUME, {
    description:
      "Name of the volume for the server's state (sandboxes, images, keys); derived from the stack's name if not set.",
    accepts: acceptsVolume,
    example: "sandboxes-state",
  }),
  workspace: optionalText(VOLUME, {
    description:
      "Name of the volume mounted at /workspace in the server; derived from the stack's name if not set.",
    accepts: acceptsVolume,
    example: "sandboxes-workspace",
  }),
  keep: flag(true, "Keep both volumes when the stack is destroyed."),
  protect: flag(false, "Refuse to destroy the stack or to rename a volume while this is true."),
});

export const volumesSetting = volumes.prefault({}).register(settingMeta, {
  description: "The server's two volumes: their names, and whether `destroy` keeps them.",
  accepts: "an object of state, workspace, keep and protect",
  example: '{"keep":false}',
});
