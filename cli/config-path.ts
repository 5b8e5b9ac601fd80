import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { isMap, isScalar, parseDocument } from "yaml";
import { NAMESPACE } from "../components/settings/schema";
import { UserError } from "../setup/user-error";

/** What of pulumi's arguments says which settings are changed by a path, and in which stack. */
export interface PathChange {
  /** @example ["volumes"] for `config set --path volumes.keep false` */
  settings: string[];
  /** Undefined for the one that is selected. */
  stack?: string;
}

/** Reads the arguments of a `pulumi config set --path` and its like; undefined for any other command. */
export function pathChange([command, verb = "", ...words]: readonly string[]): PathChange | undefined {
  if (command !== "config" || !["set", "set-all", "rm", "rm-all"].includes(verb) || !words.includes("--path"))
    return undefined;
  const change: PathChange = { settings: [] };
  for (const [index, word] of words.entries()) {
    const [, joined] = /^--stack=(.+)$/.exec(word) ?? [];
    const isStack = ["--stack", "-s"].includes(words[index - 1] ?? "");
    if (joined || isStack) change.stack = joined ?? word;
    else {
      const setting = new RegExp(`^(?:${NAMESPACE}:)?(\\w+)[.[]`).exec(word)?.[1];
      if (setting) change.settings.push(setting);
    }
  }
  return change;
}

/**
 * Makes settings that are JSON text in a stack's file objects of its YAML: pulumi would replace such a text by the one
 * field that a path names, and lose all others.
 *
 * @returns the settings that were written anew
 * @throws UserError where one is encrypted as a whole, and would be lost likewise
 */
export function openForPaths(file: string, settings: readonly string[]): string[] {
  if (!existsSync(file)) return [];
  const document = parseDocument(readFileSync(file, "utf8"));
  const opened = settings.filter((setting) => {
    const path = ["config", `${NAMESPACE}:${setting}`];
    const value = document.getIn(path, true);
    if (isMap(value) && value.items.length === 1 && value.has("secure")) throw encrypted(setting);
    const object = isScalar(value) && typeof value.value === "string" ? jsonObject(value.value) : undefined;
    if (object) document.setIn(path, document.createNode(object));
    return object !== undefined;
  });
  if (opened.length > 0) writeFileSync(file, document.toString({ lineWidth: 0 }));
  return opened;
}

function jsonObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function encrypted(setting: string): UserError {
  return new UserError(
    `${setting} is encrypted as a whole: to change a part of it by a path would lose all the others. Nothing was changed.\n` +
      `  what it is: npm run pulumi -- config get ${setting}\n` +
      `  to set it anew: npm run pulumi -- config set --secret ${setting} '{…}'`,
  );
}
