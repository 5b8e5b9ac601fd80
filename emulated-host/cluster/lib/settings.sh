# shellcheck shell=bash
# Which cluster, what was asked of it, and the programs that it is made of.

readonly MACHINE_PROGRAMS="etcd coredns kubectl kube-apiserver kube-controller-manager kube-scheduler"
readonly NODE_PROGRAMS="containerd containerd-shim-runc-v2 ctr kubelet kube-proxy"
readonly CNI_PLUGINS="bridge host-local loopback portmap"
readonly CNI_FOLDER=${CNI_FOLDER:-/usr/lib/cni}

# Sets NAME and the folder of the cluster, and what it was last brought to.
select_cluster() {
	NAME=${1-}
	[[ $NAME =~ ^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$ ]] ||
		usage_error "\"$NAME\" is not a valid name: 1 to 63 letters, digits, dots, hyphens or underscores"
	CLUSTER_DIR=$CLUSTERS_DIR/$NAME
	# For what is told of an owner, as of an emulated host.
	HOST_DIR=$CLUSTER_DIR
	# The name is taken by one user of this machine at a time.
	NETNS=/run/netns/emulated-cluster-$NAME
	PORT='' ADDRESS='' NODES=0 MEMORY_MIB='' DISK_GIB='' API_PORT='' GENERATION=0 WANTED='' OWNER=''
}

# Prints the path of a program of the cluster.
tool() { readlink -f "$CLUSTER_DIR/tools/$1"; }

# Notes where the programs are, which are on PATH in this run.
link_tools() {
	local program
	rm -rf "$CLUSTER_DIR/tools"
	mkdir -p "$CLUSTER_DIR/tools" "$CLUSTER_DIR/run"
	for program in $MACHINE_PROGRAMS $NODE_PROGRAMS; do ln -s "$(command -v "$program")" "$CLUSTER_DIR/tools/$program"; done
}

# Ends with exit code 3 where a program of the cluster is missing.
require_cluster_programs() {
	local program missing=''
	for program in $MACHINE_PROGRAMS $NODE_PROGRAMS; do
		command -v "$program" >/dev/null 2>&1 || missing+=" $program"
	done
	[[ -z $missing ]] || say "not on PATH, of Kubernetes' programs:$missing"
	if [[ ! -x $CNI_FOLDER/bridge ]]; then
		missing+=" bridge"
		say "there are no network plugins in $CNI_FOLDER
To install them on Debian or Ubuntu: sudo apt-get install containernetworking-plugins"
	fi
	[[ -z $missing ]] || exit 3
}

# Takes the lock of the cluster for the rest of the script.
lock_cluster() {
	mkdir -p "$CLUSTERS_DIR"
	take_lock "$CLUSTERS_DIR/.$NAME.lock" "waiting for another command on the cluster $NAME"
}

# Sets what `ensure` was asked for; what is not asked is the default, but for what the cluster chose by itself.
read_ensure_options() {
	read_cluster_settings || true
	PORT='' ADDRESS=127.0.0.1 NODES=2 MEMORY_MIB=6144 DISK_GIB=20
	while [[ $# -gt 0 ]]; do
		[[ $# -gt 1 ]] || usage_error "$1 needs a value"
		case $1 in
		--port) PORT=$2 ;;
		--address) ADDRESS=$2 ;;
		--nodes) NODES=$2 ;;
		--memory-mib) MEMORY_MIB=$2 ;;
		--disk-gib) DISK_GIB=$2 ;;
		--owner) OWNER=$2 ;;
		--generation) WANTED=$2 ;;
		*) usage_error "ensure does not know $1" ;;
		esac
		shift 2
	done
	[[ -n $PORT ]] || usage_error "ensure needs --port PORT"
	check_number --port "$PORT" 1 65535
	check_number --nodes "$NODES" 1 "$MOST_NODES"
	check_number --memory-mib "$MEMORY_MIB" 1024 1048576
	check_number --disk-gib "$DISK_GIB" 2 16384
	[[ -z $WANTED ]] || check_number --generation "$WANTED" 1 999999999
	check_address --address "$ADDRESS"
	check_owner "$OWNER"
}

read_cluster_settings() {
	read_values "$CLUSTER_DIR/settings" PORT ADDRESS NODES MEMORY_MIB DISK_GIB API_PORT GENERATION
}

write_cluster_settings() {
	printf '%s\n' "PORT=$PORT" "ADDRESS=$ADDRESS" "NODES=$NODES" "MEMORY_MIB=$MEMORY_MIB" \
		"DISK_GIB=$DISK_GIB" "API_PORT=$API_PORT" "GENERATION=$GENERATION" | write_file "$CLUSTER_DIR/settings"
}

# Whether it was seen ready, and all of its programs and machines live.
is_up() {
	local program number
	[[ -e $CLUSTER_DIR/ready ]] || return 1
	for program in etcd kube-apiserver kube-controller-manager kube-scheduler coredns forward-api forward-service; do
		process_of "$program" >/dev/null || return 1
	done
	for ((number = 1; number <= NODES; number++)); do
		HOST_DIR=$CLUSTER_DIR/nodes/node-$number machine_pid >/dev/null || return 1
	done
}

require_up() {
	read_cluster_settings || die "there is no cluster $NAME. To list all: $TOOL list"
	is_up || die "the cluster $NAME does not run, or not all of it. To start it: the \`ensure\` that made it, once more"
}
