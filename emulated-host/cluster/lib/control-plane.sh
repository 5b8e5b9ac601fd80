# shellcheck shell=bash
# The control plane: programs on this machine, inside the cluster's network.

# The folder of what a program writes, made.
made() {
	mkdir -p "$CLUSTER_DIR/$1"
	echo "$CLUSTER_DIR/$1"
}

kubectl_admin() { inside "$(tool kubectl)" --kubeconfig "$CLUSTER_DIR/keys/admin.kubeconfig" --request-timeout=20s "$@"; }

ensure_control_plane() {
	local keys=$CLUSTER_DIR/keys user
	for user in admin system:kube-controller-manager system:kube-scheduler system:dns; do
		kubeconfig "$user" "https://$GATEWAY:6443" | write_file "$keys/${user#system:}.kubeconfig"
	done
	# What is in it does not have to outlive this machine's power.
	launch etcd nsenter --net="$NETNS" "$(tool etcd)" --data-dir "$(made etcd)" --unsafe-no-fsync --log-level warn \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster default=http://127.0.0.1:2380
	launch kube-apiserver nsenter --net="$NETNS" "$(tool kube-apiserver)" --etcd-servers http://127.0.0.1:2379 \
		--advertise-address "$GATEWAY" --bind-address 0.0.0.0 --secure-port 6443 --cert-dir "$(made certificates)" \
		--tls-cert-file "$keys/api.pem" --tls-private-key-file "$keys/api.key" --token-auth-file "$keys/tokens.csv" \
		--authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
		--kubelet-client-certificate "$keys/kubelet-client.pem" --kubelet-client-key "$keys/kubelet-client.key" \
		--kubelet-preferred-address-types InternalIP --service-cluster-ip-range "$SERVICE_PREFIX.0.0/16" \
		--service-account-issuer https://kubernetes.default.svc \
		--service-account-key-file "$keys/service-accounts.pem" --service-account-signing-key-file "$keys/service-accounts.key"
	await "the API of the cluster $NAME" 240 kube-apiserver kubectl_admin get --raw /readyz
	launch kube-controller-manager nsenter --net="$NETNS" "$(tool kube-controller-manager)" --leader-elect=false \
		--kubeconfig "$keys/kube-controller-manager.kubeconfig" --cert-dir "$(made certificates)" --use-service-account-credentials \
		--service-account-private-key-file "$keys/service-accounts.key" --root-ca-file "$keys/ca.pem" --bind-address 127.0.0.1
	launch kube-scheduler nsenter --net="$NETNS" "$(tool kube-scheduler)" --leader-elect=false \
		--kubeconfig "$keys/kube-scheduler.kubeconfig" --cert-dir "$(made certificates)" --bind-address 127.0.0.1
	write_file "$CLUSTER_DIR/Corefile" <<-END
		.:53 {
		  bind $GATEWAY
		  errors
		  kubernetes cluster.local {
		    kubeconfig $keys/dns.kubeconfig
		  }
		  cache 5
		}
	END
	kubectl_admin apply --server-side --force-conflicts -f "$CLUSTER_SCRIPTS/objects.yaml" >/dev/null
	launch coredns nsenter --net="$NETNS" "$(tool coredns)" -conf "$CLUSTER_DIR/Corefile"
}

# The way in from this machine's own network: the API, and the port of each node that the service is on.
ensure_forwards() {
	local targets=() number
	for ((number = 1; number <= NODES; number++)); do targets+=("$(node_address "$number"):$NODE_PORT"); done
	[[ -n $API_PORT ]] && { process_of forward-api >/dev/null || ! port_is_taken "$API_PORT"; } || pick_api_port
	launch forward-api node "$CLUSTER_SCRIPTS/forward.mjs" 127.0.0.1 "$API_PORT" "$NETNS" "$GATEWAY:6443"
	launch forward-service node "$CLUSTER_SCRIPTS/forward.mjs" "$ADDRESS" "$PORT" "$NETNS" "${targets[@]}"
	# Before any node boots: the port may be another program's.
	await "port $PORT of $ADDRESS" 30 forward-service grep -qx listening "$CLUSTER_DIR/run/forward-service.log"
	kubeconfig admin "https://127.0.0.1:$API_PORT" | write_file "$CLUSTER_DIR/kubeconfig"
	await "the API on port $API_PORT of this machine" 30 forward-api \
		"$(tool kubectl)" --kubeconfig "$CLUSTER_DIR/kubeconfig" get --raw /readyz
}

# Below the ports that connections get.
pick_api_port() {
	local tries
	for ((tries = 0; tries < 50; tries++)); do
		API_PORT=$((20000 + RANDOM % 12000))
		port_is_taken "$API_PORT" || return 0
	done
	die "no free port for the API between 20000 and 32000"
}
