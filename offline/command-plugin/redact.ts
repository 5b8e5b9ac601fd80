import { type Properties, secretTexts } from "./properties";

/** Shorter secrets would make holes in ordinary words. */
const MIN_LENGTH = 4;

/** Makes a function that replaces every secret of these inputs, and each line of one, by `[secret]`. */
export function redactor(inputs: Properties): (text: string) => string {
  const lines = secretTexts(inputs).flatMap((text) => [text, ...text.split("\n")]);
  const secrets = [...new Set(lines)].filter((text) => text.length >= MIN_LENGTH);
  if (secrets.length === 0) return (text) => text;
  secrets.sort((a, b) => b.length - a.length); // the whole before its parts
  const pattern = new RegExp(secrets.map((text) => text.replace(/\W/g, "\\$&")).join("|"), "g");
  return (text) => text.replace(pattern, "[secret]");
}
