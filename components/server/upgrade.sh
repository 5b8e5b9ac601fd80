# Lets another image of the server try the state before the container is replaced. The old server is stopped, the
# state copied, and the new image started on it without a port; if it gets ready (and boots a microVM where that is
# asked for) it is stopped again, for the container that comes. If not, the copy and the old server come back.
# On the state volume, copies/.pending names the copy that is the state while a trial goes on, and copies/.unproven the
# one that an older image goes back to as long as the new container has not got ready (upgrade-done.sh).
# Variables: CONTAINER, IMAGE (id of the new one), STATE, WORKSPACE (volumes), RUN_FLAGS (of docker run),
# BOOT (1: boot a microVM), OWNER (uid of the new server; empty for root). Output: one line of JSON.
# Exit code 1: refused or failed, all is as before. It is run by outlive.sh, in WORK: when who has started it is gone, the
# old server comes back.
set -eu

home=/var/lib/microsandbox
trial=$CONTAINER-trial
phase=nothing-changed
copy=''
written=''
stopped=0
watcher=''
TAKE_OVER_SECONDS=${TAKE_OVER_SECONDS:-180}

say() { printf '%s\n' "$*" >&2 || true; }
done_with() { # done_with IMAGE: the last line of all that went well
  phase="done"
  printf '{"image":"%s","from":"%s","copy":"%s","stoppedAt":%s}\n' "$1" "$written" "$copy" "$stopped"
  exit 0
}
# What the state volume says is written by the server. It becomes part of shell text that root runs, so it has one form:
# versions, and names of copies made of them.
expect_plain() { # expect_plain FILE WORD...
  file=$1
  shift
  for word in "$@"; do
    case $word in
    *[!0-9A-Za-z.+-]* | .*)
      say "Refused: $file on the volume $STATE holds text that no server writes there. Nothing was changed."
      say "  to inspect it: docker run --rm -v $STATE:/state:ro $IMAGE cat -A /state/$file"
      exit 1
      ;;
    esac
  done
}
beside_state() { # beside_state ro|rw SCRIPT: runs it in the new image, in msb's home
  docker run --rm --network none --user 0:0 --security-opt label=disable --log-driver none \
    -v "$STATE:$home:$1" -w "$home" "$IMAGE" sh -c "set -eu; $2" </dev/null
}
own() { # own USER: gives it what a server writes to, the copies aside
  [ -n "$OWNER" ] || return 0 # a privileged server may write to anybody's
  docker run --rm --network none --user 0:0 --security-opt label=disable --log-driver none -v "$STATE:/state" \
    -v "$WORKSPACE:/workspace" "$IMAGE" sh -c 'find /state /workspace -path "/state/copies/*" -prune -o \
    ! -user "${1%%:*}" -exec chown -h "${1%%:*}:${1%%:*}" {} +' sh "$1" </dev/null
}
await() { # await CONTAINER: until it is ready. Its reason on standard output if it does not get so
  docker exec "$1" node -e '
    const { HEALTH_PORT, PORT = 5555, MSB_HOME = "/var/lib/microsandbox" } = process.env;
    const [port, deadline] = [HEALTH_PORT || PORT, Date.now() + 300_000];
    // The reasons are told to nobody on the port; a server of before has no such question on its socket.
    const reasonsOf = () => new Promise((resolve, reject) => {
      const asked = require("node:http").get(
        { socketPath: `${MSB_HOME}/gateway/admin.sock`, path: "/readyz" },
        (answer) => new Response(require("node:stream").Readable.toWeb(answer)).json().then(resolve, reject),
      );
      asked.once("error", reject).setTimeout(10_000, () => asked.destroy());
    });
    let bad = 0;
    (async function ask() {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
      if (answer?.ok) process.exit(0);
      const told = await answer?.json().catch(() => undefined);
      const { checks = {} } = await reasonsOf().catch(() => told ?? {});
      const reasons = Object.values(checks).filter(({ ok }) => !ok).map(({ reason }) => reason);
      // The starter image takes its time; what msb or KVM say does not change.
      bad = checks.msb?.ok === false || checks.kvm?.ok === false ? bad + 1 : 0;
      if (bad > 5 || Date.now() > deadline) {
        console.log(reasons.join("; ") || "it does not answer");
        process.exit(1);
      }
      setTimeout(ask, 2_000);
    })()' </dev/null 2>/dev/null || return 1
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
  fi
  if [ -n "$old" ]; then
    user=$(docker inspect --format '{{.Config.User}}' "$CONTAINER")
    own "${user:-0}"
    docker start "$CONTAINER" >/dev/null
    if reason=$(await "$CONTAINER"); then
      say "The previous server is running again after $(($(date +%s) - stopped)) s. Its sandboxes start again."
    else
      say "The previous server was started but is not ready: $reason"
    fi
  fi
  leave 1
}
# shellcheck disable=SC2317 # likewise
leave() { # leave CODE: exits; what is said has no reader any more where the starter is gone
  [ ! -e "$WORK/gone" ] || rm -rf "$WORK"
  exit "$1"
}
# Until it is killed it waits for the end of who has started this script.
watch_starter() {
  cat "$WORK/client" >/dev/null 2>&1
  touch "$WORK/gone"
  kill -TERM $$
  # A shell does not look at signals before the command that it waits for has ended.
  while kill -0 $$ 2>/dev/null && sleep 1; do docker rm --force "$trial" >/dev/null 2>&1; done
}
# The state of before the trial comes back, however far the trial has come.
forget_trial() {
  beside_state rw "[ -e copies/.pending ] || echo '$copy' >copies/.pending
    [ \"\$(cat copies/.unproven 2>/dev/null)\" != '$copy' ] || rm copies/.unproven
    sync; $swap_back"
}
# After a trial that went well: whoever has started this script replaces the old container. Where nobody does, it is
# started again, on the state that it left.
take_over() {
  trap '' INT TERM HUP PIPE
  for _ in $(seq "$TAKE_OVER_SECONDS"); do
    sleep 1
    [ "$(docker inspect --format '{{.State.Running}}' "$1" 2>/dev/null)" = false ] || exit 0
  done
  forget_trial
  user=$(docker inspect --format '{{.Config.User}}' "$1")
  own "${user:-0}"
  docker start "$1"
}
# Puts the copy in the place of the state, which is kept if .pending says under which name. Cut off anywhere, it goes on
# where it was when it is run again.
# shellcheck disable=SC2016 # it is the container's shell that fills in the variables
swap_back='read -r name keep <copies/.pending; [ -d "copies/$name" ]
if [ ! -e copies/.moved ]; then
  mkdir -p copies/.failed
  for each in * .[!.]*; do
    case $each in copies | "*" | ".[!.]*") ;; *) mv "$each" copies/.failed/ ;; esac
  done
  touch copies/.moved
fi
for each in "copies/$name"/* "copies/$name"/.[!.]*; do [ ! -e "$each" ] || mv "$each" .; done
sync
rm -rf copies/.failed/run
[ -z "$keep" ] || [ ! -d copies/.failed ] || mv copies/.failed "copies/$keep"
rm -rf copies/.pending copies/.moved copies/.failed "copies/$name"'

trap give_back EXIT
trap 'exit 130' INT TERM HUP
watch_starter &
watcher=$!
docker rm --force "$trial" >/dev/null 2>&1 || true
accepts() { # accepts VERSION: whether the new image can use its state. The reason on standard output if it can't
  docker run --rm --network none "$IMAGE" node /opt/gateway/server.cjs accepts "$1" 2>&1 </dev/null
}

old=$(docker inspect --format '{{.Image}}' "$CONTAINER" 2>/dev/null) || old=''
if [ "$old" = "$IMAGE" ]; then
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
  say "An upgrade was interrupted: rolling back to the copy made before it (${pending% *})."
  stopped=$(date +%s)
  phase=stopped
  [ -z "$old" ] || docker stop "$CONTAINER" >/dev/null
  beside_state rw "$swap_back"
  written=$(beside_state ro 'cat gateway/version 2>/dev/null || true')
  expect_plain gateway/version "$written"
fi
if [ -z "$written" ] && [ -n "$old" ]; then
  written=$(docker inspect --format '{{index .Config.Labels "io.microsandbox.version"}}' "$CONTAINER")
fi
# No server has used it yet.
[ -n "$written" ] || done_with "$IMAGE"

if ! reason=$(accepts "$written"); then
  if [ -n "$unproven" ] && accepts "${unproven%-*}" >/dev/null && beside_state ro "[ -d 'copies/$unproven' ]"; then
    failed=$written-$(date -u +%Y%m%dT%H%M%SZ)
    say "The upgrade to $written was never finished: rolling back to the copy made before it ($unproven)."
    say "The state written since then is kept in copies/$failed on the volume $STATE."
    [ -z "$old" ] || docker stop "$CONTAINER" >/dev/null
    beside_state rw "echo '$unproven $failed' >copies/.pending; rm copies/.unproven; sync; $swap_back"
    written=${unproven%-*}
    done_with "$IMAGE"
  fi
  say "Refused: the state volume $STATE was last used by microsandbox $written, and $reason."
  say "An older version would damage it. Nothing was changed."
  say "  to keep that version: pulumi config set microsandbox:version $written && pulumi up"
  say "  to go back to an older state: restore a backup into a stack with an empty state volume"
  exit 1
fi
# shellcheck disable=SC2016 # likewise
room=$(beside_state ro 'used=$(ls -A | grep -vx copies | tr "\n" "\0" | xargs -0 du -skc | tail -n 1 | cut -f 1)
free=$(df -kP . | tail -n 1 | tr -s " " | cut -d " " -f 4)
[ "$free" -gt $((used + used / 10)) ] || echo "$((used / 1024)) MiB are needed, $((free / 1024)) MiB are free"')
if [ -n "$room" ]; then
  say "Refused: not enough disk space on the host for a copy of the state volume $STATE ($room). Nothing was changed."
  exit 1
fi

copy=$written-$(date -u +%Y%m%dT%H%M%SZ)
touch "$WORK/touched"
stopped=$(date +%s)
phase=stopped
if [ -n "$old" ]; then
  say "Stopping the server of $written: its sandboxes are stopped cleanly and start again with the new one."
  docker stop "$CONTAINER" >/dev/null
fi
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
  if ! output=$(docker exec "$trial" msb run starter -- echo booted 2>&1 </dev/null); then
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
say "The new server is ready$booted: replacing the old one."
if [ -n "$old" ]; then
  take_over "$(docker inspect --format '{{.Id}}' "$CONTAINER")" </dev/null >/dev/null 2>&1 &
fi
done_with "$IMAGE"
