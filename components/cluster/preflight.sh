# Reads what a deployment needs of a cluster, and changes nothing. Prints one line of JSON.
# Variables: KUBECONFIG_FILE and CONTEXT (may be empty), NAMESPACE, DEVICES (its second namespace; empty for none).
set -u
[ -z "$KUBECONFIG_FILE" ] || export KUBECONFIG="$KUBECONFIG_FILE"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

ask() { kubectl ${CONTEXT:+--context "$CONTEXT"} --request-timeout=15s "$@" 2>"$folder/error"; }
# Another attempt costs little, and a first connection may be slow.
fail() {
  printf '{"ok":false,"code":%s,"message":%s}\n' "$(quote "$1")" "$(quote "$(head -c 500 "$folder/error")")"
  exit 0
}

: >"$folder/error"
command -v kubectl >/dev/null || fail no-kubectl
cluster=$(ask get namespace kube-system -o 'jsonpath={.metadata.uid}') || fail unreachable
version=$(ask version -o json | tr -d '\n') || fail unreachable
nodes=$(ask get nodes -o 'jsonpath={range .items[*]},{"{"}"name":"{.metadata.name}","labels":{.metadata.labels},"allocatable":{.status.allocatable},"addresses":[{.status.addresses}],"taints":[{.spec.taints}]{"}"}{end}') || fail nodes
classes=$(ask get storageclasses -o 'jsonpath={range .items[*]},{"{"}"name":"{.metadata.name}","annotations":[{.metadata.annotations}],"expands":[{.allowVolumeExpansion}]{"}"}{end}') || fail storage-classes
spaces=
for name in "$NAMESPACE" $DEVICES; do
  found=$(ask get namespace "$name" --ignore-not-found -o 'jsonpath={"{"}"name":"{.metadata.name}","labels":[{.metadata.labels}]') || fail namespaces
  [ -n "$found" ] || continue
  used=$(ask get statefulsets,daemonsets --namespace "$name" -o name) || fail namespaces
  spaces="$spaces,$found,\"used\":$([ -n "$used" ] && echo true || echo false)}"
done

denied=
may() { ask auth can-i "$@" >/dev/null || denied="$denied,$(quote "$*")"; }
[ -n "$spaces" ] || may create namespaces
for what in secrets services serviceaccounts statefulsets.apps deployments.apps poddisruptionbudgets.policy \
  networkpolicies.networking.k8s.io roles.rbac.authorization.k8s.io rolebindings.rbac.authorization.k8s.io; do
  may create "$what" --namespace "$NAMESPACE"
done
[ -z "$DEVICES" ] || may create daemonsets.apps --namespace "$DEVICES"

printf '{"ok":true,"cluster":%s,"version":%s,"nodes":[%s],"storageClasses":[%s],"namespaces":[%s],"denied":[%s]}\n' \
  "$(quote "$cluster")" "$version" "${nodes#,}" "${classes#,}" "${spaces#,}" "${denied#,}"
