# Part of upgrade.sh: what is done to the state volume $STATE, by containers of the new image $IMAGE. On it,
# copies/.pending names the copy that is the state while a trial goes on, or one that a restore was putting in its place
# (restored-*), and copies/.unproven the one that an older image goes back to as long as the new container has not got
# ready (upgrade-done.sh).

home=/var/lib/microsandbox

# What the state volume says is written by the server. It becomes part of shell text that root runs, so it has one form:
# versions, and names of copies made of them.
expect_plain() { # expect_plain FILE WORD...
  file=$1
  shift
  for word in "$@"; do
    case $word in
    *[!0-9A-Za-z.+-]* | .*)
      say "Refused: $file on the volume $STATE holds text that no server writes there. The server and its state were not changed."
      say "  to inspect it: docker run --rm -v $STATE:/state:ro $IMAGE cat -A /state/$file"
      exit 1
      ;;
    esac
  done
}
beside_state() { # beside_state ro|rw SCRIPT: runs it in the new image, in msb's home
  docker run --rm --network none --user 0:0 --security-opt label=disable --log-driver none \
    -v "$STATE:$home:$1" -v "$WORKSPACE:/workspace:$1" -w "$home" "$IMAGE" sh -c "set -eu; $2" </dev/null
}
own() { # own USER: gives it what a server writes to, the copies aside
  [ -n "$OWNER" ] || return 0 # a privileged server may write to anybody's
  docker run --rm --network none --user 0:0 --security-opt label=disable --log-driver none -v "$STATE:/state" \
    -v "$WORKSPACE:/workspace" "$IMAGE" sh -c 'find /state /workspace -path "/state/copies/*" -prune -o \
    ! -user "${1%%:*}" -exec chown -h "${1%%:*}:${1%%:*}" {} +' sh "$1" </dev/null
}
# For beside_state: does what copies/.pending says (swap.sh, which is in $swap_functions). Cut off anywhere, it goes on
# where it was when it is run again.
swap_back="$swap_functions
workspace=/workspace
swap_pending"
# Restores the state from before the trial, however far the trial has come.
forget_trial() {
  beside_state rw "[ -e copies/.pending ] || echo '$copy' >copies/.pending
    [ \"\$(cat copies/.unproven 2>/dev/null)\" != '$copy' ] || rm copies/.unproven
    sync; $swap_back"
}
