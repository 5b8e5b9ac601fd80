# Lets another image of the server try the state before the container is replaced. The old server is stopped, the
# state copied, and the new image started on it without a port; if it gets ready (and boots a microVM where that is
# asked for) it is stopped again, for the container that comes. If not, the copy and the old server come back.
# Variables: CONTAINER, IMAGE (id of the new one), STATE, WORKSPACE (volumes), RUN_FLAGS (of docker run), SERVE_FLAGS (those
# that a trial lacks), NETWORK, BOOT (1: boot a microVM), OWNER (uid of the new server; empty for root). Output: one line of JSON.
# Exit code 1: refused or failed, all is as before. It is run by outlive.sh, in WORK: when who has started it is gone, the
# old server comes back.
set -eu

trial=$CONTAINER-trial
phase=nothing-changed
copy=''
written=''
stopped=0
failed=''
watcher=''

say() { printf '%s\n' "$*" >&2 || true; }
done_with() { # done_with IMAGE: the last line of all that went well
  phase="done"
  printf '{"image":"%s","from":"%s","copy":"%s","stoppedAt":%s}\n' "$1" "$written" "$copy" "$stopped"
  exit 0
}
# Whatever ends this script before the new server has proven itself: the state and the old server come back.
# shellcheck disable=SC2317 # the trap calls it
give_back() {
  code=$?
  trap '' INT TERM HUP PIPE
  kill "$watcher" 2>/dev/null || true
  case $phase in nothing-changed | "done") leave "$code" ;; esac
  docker rm --force "$trial" >/dev/null 2>&1 || true
  if [ "$phase" = copying ]; then
    beside_state rw "rm -f copies/.pending; sync; rm -rf copies/.part 'copies/$copy'"
  elif [ "$phase" = tried ]; then
    say "Rolling back to the state before the upgrade."
    forget_trial || say "The rollback FAILED. The state is in copies/$copy on the volume $STATE."
  elif [ "$phase" = swapping ] && ! swap_or_undo; then
    say "The state on the volume $STATE is partly moved into its folder copies. Nothing of it is lost."
    say "The server stays stopped: it would take what is left for its whole state."
    say "  to go on: pulumi up"
    leave 1
  fi
  [ -z "$old" ] || serve_again || true
  leave 1
}
serve_again() { # the old server, on its state
  start_again "$CONTAINER"
  if reason=$(await "$CONTAINER"); then
    say "The previous server is running again after $(($(date +%s) - stopped)) s. Its sandboxes start again."
  else
    say "The previous server was started but is not ready: $reason"
    return 1
  fi
}
# Ends a swap that was cut off. One to a copy that the server is newer than is undone: all is as before.
# shellcheck disable=SC2317 # likewise
swap_or_undo() {
  beside_state rw "$swap_back
    if [ -n '$failed' ] && [ -d 'copies/$failed' ]; then
      echo '$unproven' >copies/.unproven
      echo '$failed $unproven' >copies/.pending
      sync
      swap_pending
    fi"
}
# shellcheck disable=SC2317 # likewise
leave() { # leave CODE: exits; what is said has no reader any more where the starter is gone
  end_work
  [ ! -e "$WORK/gone" ] || rm -rf "$WORK"
  exit "$1"
}
# Until it is killed it waits for the end of who has started this script.
watch_starter() {
  cat <&9 >/dev/null 2>&1
  touch "$WORK/gone"
  kill -TERM $$
  # A shell does not look at signals before the command that it waits for has ended.
  while kill -0 $$ 2>/dev/null && sleep 1; do docker rm --force "$trial" >/dev/null 2>&1; done
}
trap give_back EXIT
trap 'exit 130' INT TERM HUP
watch_starter &
watcher=$!
if ! begin_work; then
  case $reason in
  *"already in use"*)
    say "Refused: a backup, a restore or another upgrade is at work on the server $CONTAINER. Nothing was changed."
    say "  when it has ended: pulumi up"
    say "  if there is none, on the host: docker rm --force $at_work"
    ;;
  *) say "docker run failed on the host: $reason" ;;
  esac
  exit 1
fi
unfinished=$(claimed)
# One of the two takes it: an earlier upgrade can't take over any more, or does so just now.
[ -z "$unfinished" ] || docker rm "$trial" >/dev/null 2>&1 || unfinished=''
docker rm --force "$trial" >/dev/null 2>&1 || true
stop_old() { # what the service is down for begins here; after a destroy nobody had it
  [ -n "$old" ] || return 0
  [ "$stopped" -gt 0 ] || stopped=$(date +%s)
  docker stop "$CONTAINER" >/dev/null
}
accepts() { # accepts VERSION: whether the new image can use its state. The reason on standard output if it can't
  docker run --rm --network none "$IMAGE" node /opt/gateway/server.cjs accepts "$1" 2>&1 </dev/null
}

old=$(docker inspect --format '{{.Image}}' "$CONTAINER" 2>/dev/null) || old=''
if [ -n "$unfinished" ] && beside_state ro "[ -d 'copies/${unfinished% *}' ]"; then
  copy=${unfinished% *}
  stopped=${unfinished#* }
  say "An upgrade was interrupted after its test: going back to the state before it (copies/$copy)."
  phase=tried
  forget_trial
  phase=stopped
  copy=''
fi
if [ "$old" = "$IMAGE" ]; then
  if [ "$phase" = stopped ] && ! serve_again; then
    phase=nothing-changed
    exit 1
  fi
  written=same
  done_with "$IMAGE"
fi

# shellcheck disable=SC2016 # it is the container's shell that runs it
found=$(beside_state ro 'for each in gateway/version copies/.pending copies/.unproven; do
  echo "$(cat "$each" 2>/dev/null || true)"
done; echo end')
{ read -r written; read -r pending; read -r unproven; } <<FOUND
$found
FOUND
expect_plain gateway/version "$written"
keep=${pending#"${pending%% *}"}
expect_plain copies/.pending "${pending%% *}" "${keep# }"
expect_plain copies/.unproven "$unproven"
if [ -n "$pending" ]; then
  case $pending in
  restored-*) say "A restore was interrupted: putting the backup in its place." ;;
  *) say "An upgrade was interrupted: rolling back to the copy made before it (${pending% *})." ;;
  esac
  phase=stopped
  stop_old
  phase=swapping
  beside_state rw "$swap_back"
  phase=stopped
  written=$(beside_state ro 'cat gateway/version 2>/dev/null || true')
  expect_plain gateway/version "$written"
fi
if [ -z "$written" ] && [ -n "$old" ]; then
  written=$(docker inspect --format '{{index .Config.Labels "io.microsandbox.version"}}' "$CONTAINER")
fi
# No server has used it yet.
[ -n "$written" ] || done_with "$IMAGE"

if ! reason=$(accepts "$written"); then
  # What the image says; any other failure is docker's, and says nothing of the state.
  case $reason in
  *" is older than $written"*) ;;
  *)
    say "Whether the new image can use the state of microsandbox $written is not known: $reason"
    say "The server and its state were not changed. To try it again: pulumi up"
    exit 1
    ;;
  esac
  if [ -n "$unproven" ] && accepts "${unproven%-*}" >/dev/null && beside_state ro "[ -d 'copies/$unproven' ]"; then
    failed=$written-$(date -u +%Y%m%dT%H%M%SZ)
    say "The upgrade to $written was never finished: rolling back to the copy made before it ($unproven)."
    say "The state written since then is kept in copies/$failed on the volume $STATE."
    phase=stopped
    stop_old
    phase=swapping
    beside_state rw "echo '$unproven $failed' >copies/.pending; rm copies/.unproven; sync; $swap_back"
    written=${unproven%-*}
    done_with "$IMAGE"
  fi
  say "Refused: the state volume $STATE was last used by microsandbox $written, and $reason."
  say "An older version would damage it. The server and its state were not changed."
  say "  to keep that version: pulumi config set microsandbox:version $written && pulumi up"
  say "  to go back to an older state: restore a backup into a stack with an empty state volume"
  exit 1
fi
# shellcheck disable=SC2016 # likewise
room=$(beside_state ro 'used=$(ls -A | grep -vx copies | tr "\n" "\0" | xargs -0 du -skc | tail -n 1 | cut -f 1)
free=$(df -kP . | tail -n 1 | tr -s " " | cut -d " " -f 4)
[ "$free" -gt $((used + used / 10)) ] || echo "$((used / 1024)) MiB are needed, $((free / 1024)) MiB are free"')
if [ -n "$room" ]; then
  say "Refused: not enough disk space on the host for a copy of the state volume $STATE ($room)."
  say "The server and its state were not changed."
  exit 1
fi

copy=$written-$(date -u +%Y%m%dT%H%M%SZ)
touch "$WORK/touched"
phase=stopped
[ -z "$old" ] ||
  say "Stopping the server of $written: its sandboxes are stopped cleanly and start again with the new one."
stop_old
say "Copying the state (copies/$copy on the volume $STATE)."
phase=copying
beside_state rw "set -o pipefail; mkdir -p copies; rm -rf copies/.part; mkdir copies/.part
tar='/usr/bin/tar --numeric-owner --xattrs --xattrs-include=user.*'
\$tar --exclude=./copies --exclude=./run -cS . | \$tar -C copies/.part -xpS
sync; mv copies/.part 'copies/$copy'; echo '$copy' >copies/.pending; sync"
phase=tried

say "Testing the new server on the state."
own "$OWNER"
eval "set -- $RUN_FLAGS"
docker run --detach --name "$trial" --init "$@" --env RESUME_SANDBOXES=false \
  -v "$STATE:$home" -v "$WORKSPACE:/workspace" "$IMAGE" >/dev/null </dev/null
if ! reason=$(await "$trial"); then
  say "The new server does not become ready: ${reason:-it ended}"
  docker logs --tail 5 "$trial" >&2 || true
  exit 1
fi
booted=''
if [ "$BOOT" = 1 ]; then
  if ! boots "$trial" echo booted; then
    say "The new server is ready but can't boot a microVM:"
    printf '%s\n' "$output" | tail -n 15 >&2
    exit 1
  fi
  booted=', and has booted a microVM'
fi
docker stop -t 30 "$trial" >/dev/null
docker rm "$trial" >/dev/null
# Of several that were never finished, the first one's copy is the state that a server was ready on.
beside_state rw 'if [ -e copies/.unproven ]; then rm copies/.pending; else mv copies/.pending copies/.unproven; fi'
if [ -z "$old" ]; then
  say "The new server is ready$booted."
else
  say "The new server is ready$booted: replacing the old one."
  say "  if that fails, to go on: pulumi up   (with the previous settings it goes back to the previous state)"
  claim=$(make_claim)
  take_over "$(docker inspect --format '{{.Id}}' "$CONTAINER")" </dev/null >/dev/null 2>&1 &
fi
done_with "$IMAGE"
