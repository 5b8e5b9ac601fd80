# After the new server is ready: says how long the service was away, and drops the way back and the oldest copies of
# the state.
# Variables: REPORT (what upgrade.sh printed), VERSION, STATE (volume), KEEP (copies that stay).
set -eu

stopped=$(printf '%s' "$REPORT" | sed -n 's/.*"stoppedAt":\([0-9]*\).*/\1/p')
image=$(printf '%s' "$REPORT" | sed -n 's/.*"image":"\([^"]*\)".*/\1/p')
from=$(printf '%s' "$REPORT" | sed -n 's/.*"from":"\([^"]*\)".*/\1/p')
# Empty where no server had used the state before.
[ -n "$from" ] || exit 0
if [ "${stopped:-0}" -gt 0 ]; then
  printf 'Upgraded from microsandbox %s to %s: the service was down for %s s.\n' "$from" "$VERSION" "$(($(date +%s) - stopped))" >&2
fi
# shellcheck disable=SC2016 # it is the container's shell that fills in the variables
docker run --rm --network none --user 0:0 --security-opt label=disable --log-driver none -v "$STATE:/state" \
  -w /state "$image" sh -c 'cd copies 2>/dev/null || exit 0
    rm -f .unproven
    ls -d */ | sort -t - -k 2 | head -n "-$1" | while read -r each; do rm -rf "$each"; done' sh "$KEEP" </dev/null
