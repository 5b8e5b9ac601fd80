# Pulls an image by its digest into the engine of this host, names it, and prints its id.
# Variables: SOURCE (repository@digest), REFERENCE (its name here), REGISTRY.
# registry-login.sh comes before it.
set -eu

docker pull "$SOURCE" >"${work:?}/pulled" 2>&1 || {
  tail -n 3 "$work/pulled" >&2
  cat >&2 <<FAILED
This host could not pull the image from $REGISTRY, to which it was pushed.
  The registry has to be reached from here by that address too, and its authority be trusted (or, without TLS,
  be among the insecure-registries) by the Docker engine here.
FAILED
  exit 1
}
docker tag "$SOURCE" "$REFERENCE"
# The name by digest goes; the image stays under the other one.
docker image rm "$SOURCE" >/dev/null
docker image inspect --format '{{.Id}}' "$REFERENCE"
