# Reads what a deployment needs of a cluster, and changes nothing. Prints one line of JSON.
# Variables: NAMESPACE, DEVICES (its second namespace; empty for none), NODE_PORT (empty for none).
fail() {
  printf '{"ok":false,"code":%s,"message":%s}\n' "$(quote "$1")" "$(quote "$(head -c 500 "$folder/error")")"
  exit 0
}

command -v kubectl >/dev/null || fail no-kubectl
cluster=$(ask get namespace kube-system -o 'jsonpath={.metadata.uid}') || fail unreachable
# By its name, the stack is found again when another is the current one.
context=$CONTEXT
[ -n "$context" ] || context=$(ask config current-context) || context=
version=$(ask version -o json | tr -d '\n') || fail unreachable
nodes=$(ask get nodes -o 'jsonpath={range .items[*]},{"{"}"name":"{.metadata.name}","labels":{.metadata.labels},"allocatable":{.status.allocatable},"addresses":[{.status.addresses}],"taints":[{.spec.taints}]{"}"}{end}') || fail nodes
classes=$(ask get storageclasses -o 'jsonpath={range .items[*]},{"{"}"name":"{.metadata.name}","annotations":[{.metadata.annotations}],"expands":[{.allowVolumeExpansion}]{"}"}{end}') || fail storage-classes

# Ports that a service's pods listen on: a network may judge by those. Empty where they may not be read.
ports() { # NAMESPACE SERVICE FILTER
  ask get endpointslices --namespace "$1" --selector "kubernetes.io/service-name=$2" \
    -o "jsonpath={.items[*].ports[$3].port}" | tr ' ' ','
}
udp='?(@.protocol=="UDP")'
api=$(ports default kubernetes '*')
dns=$(ports kube-system kube-dns "$udp")
[ -n "$dns" ] || dns=$(ports openshift-dns dns-default "$udp")

# Whether the cluster would make a namespace: policies may forbid what it is to allow.
spaces= refused=
look_at() { # NAME LEVEL
  found=$(ask get namespace "$1" --ignore-not-found -o 'jsonpath={"{"}"name":"{.metadata.name}","labels":[{.metadata.labels}]') || fail namespaces
  if [ -n "$found" ]; then
    used=$(ask get statefulsets,daemonsets --namespace "$1" -o name) || fail namespaces
    spaces="$spaces,$found,\"used\":$([ -n "$used" ] && echo true || echo false)}"
  elif [ "$(ask auth can-i create namespaces)" = yes ]; then
    printf '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s","labels":{"pod-security.kubernetes.io/enforce":"%s"}}}' "$1" "$2" |
      ask create --dry-run=server --validate=false -f - >/dev/null ||
      refused="$refused,{\"name\":$(quote "$1"),\"message\":$(quote "$(head -c 500 "$folder/error")")}"
  fi
}
look_at "$NAMESPACE" restricted
[ -z "$DEVICES" ] || look_at "$DEVICES" privileged
claims=$(ask get persistentvolumeclaims --namespace "$NAMESPACE" --selector app.kubernetes.io/component=servers -o 'jsonpath={range .items[*]},{"{"}"name":"{.metadata.name}","class":"{.spec.storageClassName}","size":"{.spec.resources.requests.storage}"{"}"}{end}') || fail claims
replicas=$(ask get statefulset servers --namespace "$NAMESPACE" --ignore-not-found -o 'jsonpath={.spec.replicas}') || fail servers
counts=$(ask get leases --namespace "$NAMESPACE" --selector microsandbox-stack/counts=servers -o 'jsonpath={range .items[*]},{"{"}"name":"{.metadata.name}","sandboxes":"{.metadata.annotations.microsandbox-stack/sandboxes}","volumes":"{.metadata.annotations.microsandbox-stack/volumes}","snapshots":"{.metadata.annotations.microsandbox-stack/snapshots}"{"}"}{end}') || fail servers

# Whether the port of the nodes is another service's. Where the namespace is still to be made, one that is there always is asked.
taken=
if [ -n "$NODE_PORT" ] &&
  [ "$(ask get service router --namespace "$NAMESPACE" --ignore-not-found -o 'jsonpath={.spec.ports[*].nodePort}')" != "$NODE_PORT" ]; then
  space=$NAMESPACE
  [ -n "$(ask get namespace "$NAMESPACE" --ignore-not-found -o name)" ] || space=default
  printf '{"apiVersion":"v1","kind":"Service","metadata":{"generateName":"router-","namespace":"%s"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":%s}]}}' "$space" "$NODE_PORT" |
    ask create --dry-run=server --validate=false -f - >/dev/null || taken=$(grep nodePort "$folder/error" | head -c 500)
fi

# One call asks for all: each answer is a line.
need() { # NAMESPACE "VERBS" RESOURCE...
  space=$1 verbs=$2
  shift 2
  for what; do
    group=
    case $what in *.*) group=${what#*.} ;; esac
    for verb in $verbs; do
      printf '{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"namespace":"%s","verb":"%s","resource":"%s","group":"%s"}}}\n' \
        "$space" "$verb" "${what%%.*}" "$group"
    done
  done
}
# Pulumi follows what it makes, what comes of that, and what it deletes: one that may not would wait for ever.
every="create get list watch patch delete"
{
  need "" "$every" namespaces
  need "$NAMESPACE" "$every" secrets services serviceaccounts statefulsets.apps deployments.apps \
    poddisruptionbudgets.policy networkpolicies.networking.k8s.io roles.rbac.authorization.k8s.io \
    rolebindings.rbac.authorization.k8s.io
  need "$NAMESPACE" "list watch" pods replicasets.apps endpoints
  need "$NAMESPACE" "get list watch patch" persistentvolumeclaims
  # What a role gives has to be one's own.
  need "$NAMESPACE" "create get list patch delete" leases.coordination.k8s.io
  [ -z "$DEVICES" ] || {
    need "$DEVICES" "$every" daemonsets.apps
    need "$DEVICES" "list watch" pods
  }
} >"$folder/reviews"
answers=$(ask create --validate=false -f "$folder/reviews" -o 'jsonpath={.status.allowed} {.spec.resourceAttributes.verb} {.spec.resourceAttributes.resource} --namespace {.spec.resourceAttributes.namespace}{"\n"}') || fail rights
denied=$(printf '%s\n' "$answers" | sed -n 's/ --namespace $//; s/^false \(.*\)$/,"\1"/p' | tr -d '\n')

printf '{"ok":true,"cluster":%s,"context":%s,"version":%s,"nodes":[%s],"ports":{"api":[%s],"dns":[%s]},"storageClasses":[%s],"namespaces":[%s],"claims":[%s],"set":{"namespace":%s,"replicas":%s,"counts":[%s]},"refused":[%s],"nodePort":%s,"denied":[%s]}\n' \
  "$(quote "$cluster")" "$(quote "$context")" "$version" "${nodes#,}" "$api" "$dns" "${classes#,}" "${spaces#,}" "${claims#,}" "$(quote "$NAMESPACE")" "${replicas:-0}" "${counts#,}" "${refused#,}" "$(quote "$taken")" "${denied#,}"
