#!/bin/sh
# Gives all files of both volumes to a user. Runs as `sh -s` on the engine's host.
# Variables: IMAGE, STATE and WORKSPACE (volumes), OWNER (uid and gid), SERVER (a container that may use them).
set -eu

# A server that runs would go on writing as its own user. Its replacement comes next.
if [ -n "$(docker ps --quiet --filter "name=^/$SERVER\$")" ]; then docker stop "$SERVER" >/dev/null; fi

docker run --rm --network none --read-only --user 0:0 --security-opt no-new-privileges \
  --cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER \
  --volume "$STATE:/state" --volume "$WORKSPACE:/workspace" --workdir / "$IMAGE" \
  find /state /workspace ! -user "$OWNER" -exec chown -h "$OWNER:$OWNER" {} +
