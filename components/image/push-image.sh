# Pushes an image of this machine's engine to a registry as one architecture of a tag, joins all architectures that are
# there in that tag, and prints the digests of what was pushed and of the multi-platform tag, a line each.
# Variables: REFERENCE of the image, LIST (the multi-platform tag), ARCHITECTURE, REGISTRY. registry-login.sh comes before it.
set -eu

target=$LIST-${ARCHITECTURE:?}
clean() {
  docker image rm "$target" >/dev/null 2>&1 || true
  rm -rf "${work:?}"
}
trap clean EXIT

# Hosts of one stack push the same image: one after the other, and the multi-platform tag is written by one at a time.
if command -v flock >/dev/null 2>&1; then
  exec 9>"${TMPDIR:-/tmp}/microsandbox-push-$(id -u).lock"
  flock 9
fi

docker tag "$REFERENCE" "$target"
docker push "$target" >"$work/pushed" 2>&1 || {
  tail -n 3 "$work/pushed" >&2
  cat >&2 <<FAILED
The image could not be pushed to $REGISTRY.
  another registry: pulumi config set microsandbox:registry ADDRESS --stack $STACK
  to log in to it:  pulumi config set microsandbox:registryUser NAME --stack $STACK
  a registry without TLS must be in insecure-registries of the Docker engine here and on the hosts.
FAILED
  exit 1
}
digest=$(sed -n 's/.*digest: \(sha256:[0-9a-f]*\).*/\1/p' "$work/pushed")

# The engine may know that the registry has no TLS; the client has to be told.
insecure=
case $REGISTRY in localhost | localhost:* | 127.*) insecure=--insecure ;; esac
if [ "$(docker info --format "{{with index .RegistryConfig.IndexConfigs \"$REGISTRY\"}}{{.Secure}}{{end}}")" = false ]; then
  insecure=--insecure
fi
# shellcheck disable=SC2086 # one option, or none
joined() { docker manifest "$1" $insecure "$2"; }

set --
for architecture in amd64 arm64; do
  if joined inspect "$LIST-$architecture" >/dev/null 2>&1; then set -- "$@" "$LIST-$architecture"; fi
done
docker manifest rm "$LIST" >/dev/null 2>&1 || true
# shellcheck disable=SC2086
docker manifest create $insecure "$LIST" "$@" >/dev/null
# shellcheck disable=SC2086
manifest_list=$(docker manifest push --purge $insecure "$LIST" | grep -o 'sha256:[0-9a-f]*$' | tail -n 1)
printf '%s\n' "$digest" "${manifest_list:?the registry returned no digest for the multi-platform tag}"
