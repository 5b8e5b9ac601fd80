import { type Properties, secretTexts } from "./properties";

/** Shorter secrets would make holes in ordinary words. */
const MIN_LENGTH = 4;

/** Makes a function that replaces every secret of these inputs, and each line of one, by `[secret]`. */
export function redactor(inputs: Properties): (text: string) => string {
  const lines = secretTexts(inputs).flatMap((text) => [text, ...text.split("\n")]);
  const secrets = [...new Set(lines)].filter((text) => text.length >= MIN_LENGTH);
  secrets.sort((a, b) => b.length - a.length); // a secret that contains another one goes first
  return (text) => secrets.reduce((redacted, secret) => redacted.replaceAll(secret, "[secret]"), text);
}
