# After the new server is ready: says how long the service was down, and deletes the way back and the oldest copies of
# the state. Fails once where the way back was used meanwhile: the state that the trial was made on is not the one that
# the new server has.
# Variables: REPORT (what upgrade.sh printed), VERSION, STATE (volume), KEEP (copies that stay).
set -eu

value() { printf '%s' "$REPORT" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
stopped=$(value stoppedAt)
image=$(value image)
from=$(value from)
copy=$(value copy)
# No trial was made: no server had used the state before, or it has the same image.
case $from in '' | same) exit 0 ;; esac
what="Upgraded from microsandbox $from to $VERSION"
[ "$from" != "$VERSION" ] || what="The server was replaced by one of another image, of the same microsandbox $VERSION"
# 0 where there was no server to stop, as after a destroy: then only a change of the version is news.
if [ "${stopped:-0}" -gt 0 ]; then
  printf '%s: the service was down for %s s.\n' "$what" "$(($(date +%s) - stopped))" >&2
elif [ -n "$copy" ] && [ "$from" != "$VERSION" ]; then
  printf '%s.\n' "$what" >&2
fi
# shellcheck disable=SC2016 # it is the container's shell that fills in the variables
told=$(docker run --rm --network none --user 0:0 --security-opt label=disable --log-driver none -v "$STATE:/state" \
  -w /state "$image" sh -c 'set -eu
    [ -n "$2" ] || [ -d copies ] || exit 0
    mkdir -p copies
    cd copies
    if [ -n "$2" ] && [ ! -d "$2" ] && [ "$(cat .gone 2>/dev/null)" != "$2" ]; then
      echo "$2" >.gone
      echo gone
      exit 0
    fi
    rm -f .unproven .gone
    # By the time at the end of the name: a version may have a - too.
    ls -d */ 2>/dev/null | sed "s/^\(.*\)-\([^-]*\)$/\2 \1-\2/" | sort | head -n "-$1" | cut -d " " -f 2- |
      while read -r each; do rm -rf "$each"; done' sh "$KEEP" "$copy" </dev/null)
[ "$told" = gone ] || exit 0
cat >&2 <<TEXT
The upgrade from $from to $VERSION is done, but the copy of the state made before it (copies/$copy) is gone: the container
was replaced so late that the previous server had been started again on that copy. The new server has gone on with that
state, and there is no copy to go back to.
  to check it: the earlier sandboxes and volumes must be there
  to save the state as it is now, in a clone of this project's repository: npm run backup -- FILE
    (of a program of your own: copy the volume $STATE)
  to accept this and go on: pulumi up
TEXT
exit 1
