/**
 * Translates a glob of the vendor's dialect: `*` and `?` stop at `/`, `**` does not; `[abc]`, `[!a-z]`,
 * `{one,two}` and `\` to escape.
 *
 * @throws Error for an unclosed bracket or brace
 */
export function globToRegExp(glob: string): RegExp {
  let source = "";
  let depth = 0;
  for (let i = 0; i < glob.length; i++) {
    const char = glob.charAt(i);
    if (char === "\\") source += literal(glob.charAt(++i));
    else if (char === "*" && glob[i + 1] === "*") {
      source += ".*";
      i++;
    } else if (char === "*") source += "[^/]*";
    else if (char === "?") source += "[^/]";
    else if (char === "[") {
      const end = glob.indexOf("]", i + 2);
      if (end < 0) throw new Error(`the pattern ${JSON.stringify(glob)} has no ] for its [`);
      source += characterClass(glob.slice(i + 1, end));
      i = end;
    } else if (char === "{") {
      depth++;
      source += "(?:";
    } else if (char === "}" && depth > 0) {
      depth--;
      source += ")";
    } else if (char === "," && depth > 0) source += "|";
    else source += literal(char);
  }
  if (depth > 0) throw new Error(`the pattern ${JSON.stringify(glob)} has no } for its {`);
  return new RegExp(`^${source}$`, "s");
}

function characterClass(body: string): string {
  const negated = body.startsWith("!");
  const characters = (negated ? body.slice(1) : body).replace(/[\\\]^]/g, "\\$&");
  return `[${negated ? "^" : ""}${characters}]`;
}

function literal(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
