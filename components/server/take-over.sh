# Part of upgrade.sh: what becomes of a server whose new image has passed the trial, until its container is replaced.

TAKE_OVER_SECONDS=${TAKE_OVER_SECONDS:-180}

# A container that is never started: the old server may be started again on the copy that it names. It is void once the
# server has been started.
make_claim() {
  docker create --name "$trial" --label "server=$(start_of_server)" --label "copy=$copy $stopped" "$IMAGE" true
}
start_of_server() { docker inspect --format '{{.Id}} {{.State.StartedAt}}' "$CONTAINER" 2>/dev/null; }
# The copy, and when the server was stopped, of a claim that an interrupted upgrade has left; nothing where none is valid.
claimed() {
  claim=$(docker inspect --format '{{index .Config.Labels "server"}},{{index .Config.Labels "copy"}}' "$trial" 2>/dev/null) || return 0
  [ "${claim%,*}" != "$(start_of_server)" ] || printf '%s' "${claim##*,}"
}
start_again() { # start_again CONTAINER
  user=$(docker inspect --format '{{.Config.User}}' "$1")
  own "${user:-0}"
  docker start "$1" >/dev/null
}

# Whoever has started the upgrade replaces the old container. Where nobody does, it is started again, on the state that it
# left; where the old one is gone and no other one runs, one of the new image takes its place. The container $claim is the
# right to do so: another upgrade that begins meanwhile removes it.
take_over() { # take_over OLD: id of the old container
  trap '' INT TERM HUP PIPE
  trap end_work EXIT
  own_work='' # the one that has begun this one ends that
  for _ in $(seq "$TAKE_OVER_SECONDS"); do
    sleep 1
    if [ "$(docker inspect --format '{{.State.Running}}' "$CONTAINER" 2>/dev/null)" = true ]; then
      docker rm "$claim"
      exit 0
    fi
  done
  begin_work || true
  docker rm "$claim" || exit 0
  if docker inspect "$1"; then
    forget_trial
    start_again "$1"
  else
    # One that was created and not started has no other fault.
    docker start "$CONTAINER" || stand_in
  fi
}
# A server of the new image, with all that the container has which was to come: clients find it where the old one was.
# After a destroy there is no network, and nothing to serve.
stand_in() {
  docker network inspect "$NETWORK"
  eval "set -- $RUN_FLAGS $SERVE_FLAGS"
  made=$(docker create --name "$CONTAINER" --init "$@" -v "$STATE:$home" -v "$WORKSPACE:/workspace" "$IMAGE")
  docker start "$made" || docker rm "$made"
}
