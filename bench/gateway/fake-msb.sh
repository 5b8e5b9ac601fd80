#!/bin/sh
# The unit tests' stand-in for msb, with lists that cost about what msb's own cost (some 20 ms) however many
# sandboxes there are (the benchmarks know a thousand), and that are whole while others make and remove.
set -eu

# Reads lines FILE:VALUE, FILE being ./NAME.KIND; prints a list of what has the given kind. A name holds no colon.
to_list() {
  awk -v needed="$1" -v format="$2" '
    {
      colon = index($0, ":")
      file = substr($0, 3, colon - 3)
      match(file, /\.[a-z]+$/)
      value = substr($0, colon + 1)
      kind = substr(file, RSTART + 1)
      name = substr(file, 1, RSTART - 1)
      if (kind == "conf") value = match(value, /"oci":"[^"]*"/) ? substr(value, RSTART + 7, RLENGTH - 8) : ""
      values[name, kind] = value
      if (kind == needed) found[name]
    }
    END {
      separator = "["
      for (name in found) {
        # What a command that was killed had begun to write may come after its removal.
        if (needed == "status" && !((name, "conf") in values)) continue
        created = (name, "created") in values ? values[name, "created"] : "1970-01-01T00:00:00Z"
        printf "%s" format, separator, name, created, values[name, "status"], values[name, "conf"]
        separator = ","
      }
      print (separator == "[" ? "[]" : "]")
    }'
}

case $1${2:-} in
ls*)
  mkdir -p "$MSB_HOME/fake/sandboxes" && cd "$MSB_HOME/fake/sandboxes"
  # -s: what is removed meanwhile is in no list.
  list=$(grep -rsH '' --include='*.conf' --include='*.status' --include='*.created' . |
    to_list status '{"name":"%s","created_at":"%s","status":"%s","image":"%s"}\n')
  # Rows of sandboxes that nobody does anything to, as a list would have them between its brackets.
  if [ -s ../known ]; then
    printf '[' && cat ../known
    [ "$list" = "[]" ] && echo ']' || printf ',%s\n' "${list#[}"
  else
    printf '%s\n' "$list"
  fi
  ;;
volumels)
  mkdir -p "$MSB_HOME/fake/volumes" && cd "$MSB_HOME/fake/volumes"
  grep -rsH '' . | sed 's/:/.created:/; s/ .*//' |
    to_list created '{"name":"%s","created_at":"%s","kind":"dir","used_bytes":0}\n'
  ;;
rm*)
  for name in "$@"; do :; done
  [ -f "$MSB_HOME/fake/sandboxes/$name.status" ] || {
    echo "error: sandbox not found: $name" >&2
    exit 1
  }
  for kind in conf created status; do rm -f "$MSB_HOME/fake/sandboxes/$name.$kind"; done
  rm -rf "$MSB_HOME/sandboxes/$name"
  ;;
*) exec "${0%/bench/*}/test/unit/gateway/fake-msb.sh" "$@" ;;
esac
