# Runs the script "$work/script" in a session of its own and shows what it says, so that it ends well whatever becomes of
# this one: a killed pulumi, a lost connection, Ctrl+C. It is told by a pipe: its descriptor 9 ends when this shell does.
# As soon as it has made the file $WORK/touched, an empty line a second on standard output finds out a lost connection.
set -eu

mkfifo "$work/client"
# Both ends are open before anybody needs one: to open one end waits for the other, whose process may have ended already.
exec 7<>"$work/client" 8>"$work/client" 9<"$work/client" 7>&-
: >"$work/err"
if command -v setsid >/dev/null 2>&1; then
  session() { setsid "$@"; }
else
  session() { perl -e 'use POSIX; POSIX::setsid(); exec @ARGV' "$@"; }
fi
(
  code=0
  WORK=$work session sh "$work/script" >"$work/out" 2>"$work/err" </dev/null || code=$?
  echo "$code" >"$work/code.new"
  mv "$work/code.new" "$work/code"
) >/dev/null 2>&1 </dev/null 8>&- &
exec 9<&-

seen=0
show() { # what has been said since the last time
  said=$(wc -c <"$work/err")
  [ "$said" -eq "$seen" ] || tail -c "+$((seen + 1))" "$work/err" | head -c "$((said - seen))" >&2
  seen=$said
}
until [ -e "$work/code" ]; do
  sleep 0.5
  show
  [ ! -e "$work/touched" ] || echo
  # Where only the shell around this one was killed.
  [ ! -d /proc/self ] || [ -d "/proc/$PPID" ] || exit 1
done
show
code=$(cat "$work/code")
cat "$work/out"
rm -rf "$work"
exit "$code"
