#!/bin/sh
# The engine of a host with one server, for upgrade.sh. In $FAKE: `running` (of the server; none where there is no such file),
# `other` where it is not the old one any more, `starts` of it, `trial` while there is one, `claim` what its labels say,
# `at-work` while somebody works on it alone, `calls`, one a line. The phase named in $SLOW (stop, copy, trial, await, boot,
# swap) says so in `reached` and takes a while.
set -eu
echo "$*" | tr '\n' ' ' >>"$FAKE/calls"
echo >>"$FAKE/calls"
slow() {
  [ "$SLOW" = "$1" ] || return 0
  touch "$FAKE/reached"
  for _ in $(seq 30); do
    sleep 0.1
    case $1 in await | boot) [ -e "$FAKE/trial" ] || exit 1 ;; esac
  done
}
begin() { [ -e "$FAKE/running" ] && echo true >"$FAKE/running" && echo again >>"$FAKE/starts"; }
start() { echo "server-id $(wc -l 2>/dev/null <"$FAKE/starts" || echo 0)"; }
case "$*" in
*"--name server-at-work "*)
  [ ! -e "$FAKE/at-work" ] || { echo 'The container name "/server-at-work" is already in use by container "1".' >&2; exit 125; }
  touch "$FAKE/at-work"
  echo "WARNING: a warning" >&2
  echo work-id
  ;;
"rm --force work-id") rm "$FAKE/at-work" ;;
*'Labels "server"'*) [ -e "$FAKE/trial" ] && cat "$FAKE/claim" ;;
*"{{.Id}} {{.State.StartedAt}}"*) [ -e "$FAKE/running" ] && start ;;
*"{{.Image}}"*) [ -e "$FAKE/running" ] && echo sha256:old ;;
"inspect server-id") [ ! -e "$FAKE/other" ] && [ -e "$FAKE/running" ] ;;
"create --name server-trial"*)
  touch "$FAKE/trial"
  echo "${5#server=},${7#copy=}" >"$FAKE/claim"
  echo claim
  ;;
"create --name server "*) [ ! -e "$FAKE/running" ] && echo false >"$FAKE/running"; echo made ;;
"rm claim") rm "$FAKE/trial" ;;
"start server-id" | "start made" | "start server") begin ;;
*"{{.State.Running}}"*) cat "$FAKE/running" ;;
*"{{.Id}}"*) echo server-id ;;
*"{{.Config.User}}"*) echo ;;
*"gateway/version copies/.pending"*) printf '%b' "${FOUND:-0.6.18\n\n\nend\n}" ;;
*"df -kP"*) ;;
*"--detach"*) touch "$FAKE/trial"; slow trial ;;
"rm server-trial") rm "$FAKE/trial" ;;
"rm "*-trial*) rm -f "$FAKE/trial" ;;
"stop server") echo false >"$FAKE/running"; slow stop ;;
*"tar -C copies/.part"*) slow copy ;;
"exec server-trial node"*) slow await ;;
"exec server-trial msb"*) slow boot ;;
*" accepts ${BROKEN:-none}"*) echo "docker: Error response from daemon: no space left on device." >&2; exit 125 ;;
*" accepts ${REFUSES:-none}"*) echo "microsandbox 0.6.18 is older than $REFUSES" >&2; exit 1 ;;
*swap_pending*)
  # Only the first one: what comes after it is the way back.
  [ -e "$FAKE/reached" ] || slow swap
  [ "${FAILS:-}" != swap ] || exit 1
  ;;
esac
