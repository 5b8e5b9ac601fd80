import pino, { type DestinationStream, type Logger } from "pino";
import { logOptions } from "../log-lines";

/** The device plugin's log: lines as the server writes them. @param to default: the standard output */
export const pluginLog = (
  level: string,
  to: DestinationStream = pino.destination({ fd: 1, sync: true }),
): Logger => pino(logOptions("device-plugin", level), to);
