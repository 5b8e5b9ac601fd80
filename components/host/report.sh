# What the reports of the checks need: script() puts it before both.

# A JSON string. Backslashes and quotes are escaped, control characters become spaces.
quote() {
  case $1 in
    *[\\\"[:cntrl:]]*) printf '"%s"' "$(printf '%s' "$1" | tr '\000-\037' ' ' | sed 's/[\\"]/\\&/g')" ;;
    *) printf '"%s"' "$1" ;;
  esac
}
