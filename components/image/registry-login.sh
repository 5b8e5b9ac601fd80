# What pushing and pulling an image need: script() puts it before both. A folder that goes in the end, and
# in it the login for this run alone.
# Variables: REGISTRY, STACK, and REGISTRY_USER with REGISTRY_PASSWORD, or neither where the user's own docker login holds.
# The password is not exported: no program has it in its environment.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "${REGISTRY_USER:-}" ]; then
  # The user's contexts, and the one in use; nothing else of theirs.
  folder=${DOCKER_CONFIG:-${HOME:-}/.docker}
  context=$(docker context inspect --format '{{.Name}}' 2>/dev/null) || context=
  [ -z "$context" ] || [ "$context" = default ] || export DOCKER_CONTEXT="$context"
  [ ! -d "$folder/contexts" ] || ln -s "$(cd "$folder/contexts" && pwd)" "$work/contexts"
  # Where there is no entry, docker login gives the password to a credential helper of the machine.
  printf '{"auths":{"none.invalid":{}}}\n' >"$work/config.json"
  export DOCKER_CONFIG="$work"
  printf '%s' "$REGISTRY_PASSWORD" |
    docker login --username "$REGISTRY_USER" --password-stdin "$REGISTRY" >"$work/login" 2>&1 || {
    tail -n 3 "$work/login" >&2
    cat >&2 <<FAILED
docker login to $REGISTRY failed.
  user and password: pulumi config set microsandbox:registryUser NAME --stack $STACK
                     pulumi config set --secret microsandbox:registryPassword --stack $STACK
  a registry without TLS must be in insecure-registries of the Docker engine.
FAILED
    exit 1
  }
fi
unset REGISTRY_PASSWORD
