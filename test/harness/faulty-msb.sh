#!/bin/sh
# The benchmarks' stand-in for msb, which fails as MSB_HOME/fake/faults asks it to. Without that file it is the same.
# A line of the file is COMMAND FAULT PER_MILLE; COMMAND is msb's first argument, or * for each of them. Chance is
# repeatable as far as the order of the calls is: its state is the number in MSB_HOME/fake/chance.
set -u

fake=$MSB_HOME/fake
msb=${0%/test/*}/bench/gateway/fake-msb.sh
[ -f "$fake/faults" ] && [ "$1" != --version ] || exec "$msb" "$@"

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

read -r state 2>/dev/null <"$fake/chance" || state=$$
state=$(((state * 1103515245 + 12345) % 2147483648))
echo "$state" >"$fake/chance"
dice=$((state / 65536 % 1000))
# choose COMMAND: sets fault from the rules on standard input
choose() {
  fault=none
  while read -r command kind weight; do
    case $command in "$1" | '*') ;; *) continue ;; esac
    [ "$dice" -ge "$weight" ] || { fault=$kind && return; }
    dice=$((dice - weight))
  done
}
# The rules may have been taken away meanwhile.
{ choose "$1"; } 2>/dev/null <"$fake/faults" || fault=none

case $fault in
unknown) fail "the flux capacitor is empty" ;;
locked) fail "database is locked" ;;
full) fail "No space left on device (os error 28)" ;;
signal) kill -9 $$ ;;
# A command that does something has done it, whatever it says.
garbage)
  case "$1 ${2:-}" in
  ls* | inspect* | 'volume ls' | 'image ls') ;;
  *) "$msb" "$@" || exit ;;
  esac
  printf '[{"name":"half-a-l' && exit 0
  ;;
# Until it is killed, or the faults are over.
hang)
  while [ -f "$fake/faults" ]; do sleep 0.1 >/dev/null 2>&1; done
  fail "interrupted"
  ;;
late) sleep 0.3 >/dev/null 2>&1 ;;
slow) sleep 2.5 >/dev/null 2>&1 ;;
# The work is done, and called a failure.
done-failed)
  "$msb" "$@" >/dev/null 2>&1
  fail "connection reset by peer"
  ;;
done-late)
  "$msb" "$@"
  code=$?
  sleep 0.3 >/dev/null 2>&1
  exit "$code"
  ;;
esac
exec "$msb" "$@"
