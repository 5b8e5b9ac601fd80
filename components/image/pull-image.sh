# Pulls an image by its digest into the engine of this machine, names it, and prints its id. What has the name is there.
# Variables: SOURCE (repository@digest), REFERENCE (its name here), REGISTRY, STACK; of an image that somebody else has
# made also ARCHITECTURE and VERSION (of microsandbox), which it has to be of. registry-login.sh comes before it.
set -eu

refuse() { # refuse LINE...: the image is not the one that is wanted
  printf '%s\n' "$@" >&2
  docker image rm "$SOURCE" >/dev/null 2>&1 || true
  exit 1
}

pull() {
  # shellcheck disable=SC2086 # one option with its value, or none
  docker pull ${ARCHITECTURE:+--platform "linux/$ARCHITECTURE"} "$SOURCE" >"${work:?}/pulled" 2>&1 || {
    tail -n 3 "$work/pulled" >&2
    cat >&2 <<FAILED
$(uname -n) could not pull the image from $REGISTRY.
  The Docker engine here must reach the registry at that address and trust its CA (or, without TLS,
  have it in insecure-registries).
  to log in to it: pulumi config set microsandbox:registryUser NAME --stack $STACK
FAILED
    exit 1
  }
}

verify() {
  found=$(docker image inspect --format '{{.Architecture}}' "$SOURCE")
  [ "$found" = "$ARCHITECTURE" ] || refuse \
    "The image $SOURCE is for $found, but the host is $ARCHITECTURE." \
    "  to make one for both architectures, in a clone of this project's repository: npm run image -- push REPOSITORY"
  label='{{with .Config.Labels}}{{index . "org.opencontainers.image.version"}}{{end}}'
  found=$(docker image inspect --format "$label" "$SOURCE")
  [ -n "$found" ] || refuse \
    "The image $SOURCE does not say which version of microsandbox it holds (label org.opencontainers.image.version):" \
    "it is not an image of this project's server." \
    "  to make one, in a clone of this project's repository: npm run image -- push REPOSITORY"
  [ "$found" = "$VERSION" ] || refuse \
    "The image $SOURCE holds microsandbox $found, but the setting version is $VERSION." \
    "  to use what it holds: pulumi config set microsandbox:version $found --stack $STACK"
}

if ! docker image inspect "$REFERENCE" >/dev/null 2>&1; then
  pull
  [ -z "${VERSION:-}" ] || verify
  docker tag "$SOURCE" "$REFERENCE"
  # The name by digest goes; the image stays under the other one.
  docker image rm "$SOURCE" >/dev/null
fi
docker image inspect --format '{{.Id}}' "$REFERENCE"
