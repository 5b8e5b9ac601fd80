#!/bin/sh
# The unit tests' stand-in for msb, with a list that costs about what msb's own costs (some 20 ms) however many
# sandboxes there are: the benchmarks know a thousand.
set -eu
[ "$1" = ls ] || exec "${0%/bench/*}/test/unit/gateway/fake-msb.sh" "$@"

mkdir -p "$MSB_HOME/fake/sandboxes"
cd "$MSB_HOME/fake/sandboxes"
# -s: what is removed meanwhile is in no list. A name holds no colon.
grep -rsH '' --include='*.conf' --include='*.status' --include='*.created' . | awk '
  {
    colon = index($0, ":")
    file = substr($0, 3, colon - 3)
    value = substr($0, colon + 1)
    match(file, /\.[a-z]+$/)
    name = substr(file, 1, RSTART - 1)
    kind = substr(file, RSTART + 1)
    if (kind == "conf") {
      image = match(value, /"oci":"[^"]*"/) ? substr(value, RSTART + 7, RLENGTH - 8) : ""
      images[name] = image
    }
    if (kind == "status") states[name] = value
    if (kind == "created") times[name] = value
  }
  END {
    separator = "["
    for (name in states)
      if (name in times && name in images) {
        printf "%s{\"name\":\"%s\",\"status\":\"%s\",\"created_at\":\"%s\",\"image\":\"%s\"}\n", separator, name, states[name], times[name], images[name]
        separator = ","
      }
    print (separator == "[" ? "[]" : "]")
  }'
