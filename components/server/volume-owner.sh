#!/bin/sh
# Gives all files of both volumes to a user, copies of the state aside. Runs as `sh -s` on the engine's host.
# Variables: IMAGE, STATE and WORKSPACE (volumes), OWNER (uid and gid), SERVER (a container that may use them).
set -eu

# A running server of another user would go on writing as that user. It is about to be replaced: its user is an argument
# of its container. One of the same user stays as it is.
if user=$(docker container inspect --format '{{.State.Running}} {{.Config.User}}' "$SERVER" 2>/dev/null); then
  case $user in
  "true $OWNER:"* | "true $OWNER" | false*) ;;
  *) docker stop "$SERVER" >/dev/null ;;
  esac
fi

docker run --rm --network none --read-only --user 0:0 --security-opt no-new-privileges \
  --cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER \
  --volume "$STATE:/state" --volume "$WORKSPACE:/workspace" --workdir / "$IMAGE" \
  find /state /workspace -path '/state/copies/*' -prune -o ! -user "$OWNER" -exec chown -h "$OWNER:$OWNER" {} +
