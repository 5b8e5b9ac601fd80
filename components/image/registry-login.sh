# What pushing and pulling an image need: script() puts it before both. A folder that goes in the end, and
# in it the login for this run alone.
# Variables: REGISTRY, and REGISTRY_USER with REGISTRY_PASSWORD, or neither where the user's own docker login holds.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "${REGISTRY_USER:-}" ]; then
  auth=$(printf '%s:%s' "$REGISTRY_USER" "$REGISTRY_PASSWORD" | base64 | tr -d '\n')
  printf '{"auths":{"%s":{"auth":"%s"}}}\n' "$REGISTRY" "$auth" >"$work/config.json"
  # A context that is in use is in the folder of before.
  engine=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)
  [ -z "$engine" ] || export DOCKER_HOST="$engine"
  export DOCKER_CONFIG="$work"
fi
