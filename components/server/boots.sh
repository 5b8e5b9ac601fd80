# Boots a microVM of the built-in image that runs a command: boots CONTAINER COMMAND... What msb says is in $output.
# msb first asks its own program what it is, and gives it two seconds, which a busy host may not have: then once more.
boots() {
  boots_in=$1
  shift
  for _try in 1 2 3; do
    output=$(docker exec "$boots_in" msb run starter -- "$@" 2>&1 </dev/null) && return
    case $output in *'runtime version probe timed out'* | *'selected msb runtime does not support'*) ;; *) return 1 ;; esac
  done
  return 1
}
