import { asNpmScripts, withStack } from "../components/settings/message-commands";

let stack: string | undefined;

/** From now on every line to type that this process prints names this stack. */
export function nameInLines(name: string): void {
  stack = name;
}

/** A text for the user, its lines to type being npm scripts and naming the stack that the command works on. */
export const linesToType = (text: string): string => withStack(asNpmScripts(text), stack);
