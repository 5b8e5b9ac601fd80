# What the scripts for a cluster share: script() puts it before them.
# Variables: KUBECONFIG_FILE and CONTEXT (may be empty).
set -u
[ -z "$KUBECONFIG_FILE" ] || export KUBECONFIG="$KUBECONFIG_FILE"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
: >"$folder/error"

ask() { kubectl ${CONTEXT:+--context "$CONTEXT"} --request-timeout=15s "$@" 2>"$folder/error"; }
