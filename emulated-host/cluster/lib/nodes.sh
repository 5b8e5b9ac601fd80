# shellcheck shell=bash
# The nodes: emulated hosts of the cluster's own, with a second network card on its bridge and the disk of programs.

# Runs a command of emulated-host.sh for the cluster's nodes, inside its network. A machine that it starts must not hold
# the cluster's lock.
node_host() {
	local lock=${LOCK_FD:-9}
	EMULATED_HOSTS_DIR=$CLUSTER_DIR/nodes inside bash "$CLUSTER_SCRIPTS/../emulated-host.sh" "$@" {lock}>&-
}

node_ssh() { node_host ssh "node-$1" -- "${@:2}"; }

ensure_nodes() {
	local number failed='' starts=()
	for ((number = 1; number <= NODES; number++)); do
		start_node "$number" &
		starts+=($!)
	done
	for number in "${!starts[@]}"; do wait "${starts[number]}" || failed+=" node-$((number + 1))"; done
	[[ -z $failed ]] || die "not started:$failed. To try again, the same command once more"
	remove_nodes_above "$NODES"
	register_volumes
	await_nodes
}

start_node() {
	local number=$1 folder=$CLUSTER_DIR/nodes/node-$1 flags
	flags="-netdev
tap,id=cluster,ifname=node-$number,script=no,downscript=no
-device
virtio-net-pci,netdev=cluster,romfile=,mac=52:54:00:77:00:$(printf %02x "$number")
-drive
id=parts,file=$(qemu_path "$PARTS"),format=raw,if=none,readonly=on
-device
virtio-blk-pci,drive=parts"
	mkdir -p "$folder"
	if [[ $flags != "$(cat "$folder/qemu-flags" 2>/dev/null)" ]]; then
		node_host stop "node-$number"
		echo "$flags" | write_file "$folder/qemu-flags"
	fi
	# A port of its own in the network that all nodes are in. Nobody uses it.
	node_host start "node-$number" --port "$((5555 + number))" --memory-mib "$MEMORY_MIB" --disk-gib "$DISK_GIB" >/dev/null
	node_settings "$number" | node_ssh "$number" 'mkdir -p /run/node /opt/node && tar -x -C /run/node &&
		{ mountpoint -q /opt/node || mount -o ro /dev/vdc /opt/node; } && /opt/node/start'
}

# Prints an archive of what one node alone has.
node_settings() {
	local number=$1 work
	work=$(mktemp -d)
	printf '%s\n' "NUMBER=$number" "NODES=$NODES" "GATEWAY=$GATEWAY" "POD_PREFIX=$POD_PREFIX" \
		"ADDRESS=$(node_address "$number")" "VOLUMES=$VOLUMES" >"$work/settings"
	kubeconfig "system:node:node-$number" "https://$GATEWAY:6443" >"$work/kubelet.kubeconfig"
	kubeconfig system:kube-proxy "https://$GATEWAY:6443" >"$work/kube-proxy.kubeconfig"
	cp "$CLUSTER_DIR/keys/ca.pem" "$work/ca.pem"
	tar -c -C "$work" .
	rm -r "$work"
}

remove_nodes_above() {
	local folder number
	for folder in "$CLUSTER_DIR"/nodes/node-*/; do
		number=${folder%/} number=${number##*-}
		((number > $1)) || continue
		node_host delete "node-$number"
		rm -rf "$folder"
		kubectl_admin delete node "node-$number" --ignore-not-found >/dev/null
	done
}

# Local volumes: folders that each node has ready, and one object for each. They hold as much as the node's disk does.
register_volumes() {
	local number volume
	for ((number = 1; number <= NODES; number++)); do
		for ((volume = 1; volume <= VOLUMES; volume++)); do
			cat <<-END
				---
				apiVersion: v1
				kind: PersistentVolume
				metadata: {name: node-$number-$volume}
				spec:
				  capacity: {storage: 1Pi}
				  accessModes: [ReadWriteOnce]
				  persistentVolumeReclaimPolicy: Retain
				  storageClassName: local
				  local: {path: /var/lib/docker/node/volumes/$volume}
				  nodeAffinity:
				    required:
				      nodeSelectorTerms:
				      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node-$number]}]
			END
		done
	done | kubectl_admin apply --server-side --force-conflicts -f - >/dev/null
}

await_nodes() {
	local number names=()
	for ((number = 1; number <= NODES; number++)); do names+=("node/node-$number"); done
	with_progress "waiting for ${#names[@]} nodes to be ready" kubectl_admin wait --for=condition=Ready --timeout=300s \
		--request-timeout=0 "${names[@]}" >/dev/null && return
	kubectl_admin get nodes >&2 || true
	for ((number = 1; number <= NODES; number++)); do
		say "last lines of the kubelet of node-$number:"
		node_ssh "$number" 'tail -n 8 /var/log/kubelet.log' | cut -c1-300 | sed 's/^/  /' >&2 || true
	done
	die "the nodes are not ready. To try again, the same command once more"
}

# Loads the archive on standard input into the containerd of each node, all at once, by the disk that both sides see.
load_image() {
	local reference=$1 archive=$CLUSTER_DIR/image.tar number failed='' loads=()
	cat >"$archive"
	for ((number = 1; number <= NODES; number++)); do
		load_on_node "$number" "$reference" "$archive" &
		loads+=($!)
	done
	for number in "${!loads[@]}"; do wait "${loads[number]}" || failed+=" node-$((number + 1))"; done
	rm "$archive"
	[[ -z $failed ]] || die "the image was not loaded on:$failed"
}

load_on_node() {
	local number=$1 reference=$2 archive=$3
	! node_ssh "$number" "/opt/node/images has $reference" || return 0
	dd if="$archive" of="$CLUSTER_DIR/nodes/node-$number/transfer.img" bs=4M conv=notrunc status=none
	node_ssh "$number" "/opt/node/load-image $(stat -c %s "$archive")"
}
