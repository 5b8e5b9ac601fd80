#!/bin/bash
# Emulated clusters: Kubernetes on emulated hosts, in a network of its own on this machine. Needs root.
set -euo pipefail

CLUSTER_SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOOL=$(printf %q "$CLUSTER_SCRIPTS/emulated-cluster.sh")
readonly CLUSTER_SCRIPTS TOOL
PATH=$PATH:/usr/sbin:/sbin
CACHE_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/microsandbox-stack/emulated-host
CLUSTERS_DIR=${XDG_DATA_HOME:-$HOME/.local/share}/microsandbox-stack/emulated-clusters
readonly MOST_NODES=9
# Port of each node that the service is on, and local volumes of each node.
readonly NODE_PORT=30555 VOLUMES=8
umask 077
export LC_ALL=C

# shellcheck source=../lib/common.sh
source "$CLUSTER_SCRIPTS/../lib/common.sh"
# shellcheck source=../lib/host-files.sh
source "$CLUSTER_SCRIPTS/../lib/host-files.sh"
# shellcheck source=../lib/machine.sh
source "$CLUSTER_SCRIPTS/../lib/machine.sh"
for part in settings files network processes control-plane parts nodes; do
	# shellcheck source=/dev/null
	source "$CLUSTER_SCRIPTS/lib/$part.sh"
done
say() { echo "emulated-cluster: $*" >&2; }
die() { say "$*"; exit 1; }
usage_error() { say "$*"; echo "See: emulated-cluster.sh --help" >&2; exit 2; }

usage() {
	cat <<'END'
Usage: emulated-cluster.sh COMMAND

  ensure NAME --port PORT       Brings the cluster to what is asked, from whatever state. Prints how to reach it.
      [--address 127.0.0.1]     address of this machine that PORT is opened on and forwarded to port 30555 of the nodes
      [--nodes 2]               1 to 9
      [--memory-mib 6144]       memory of each node
      [--disk-gib 20]           disk of each node (sparse; it can grow but not shrink)
      [--generation N]          number to record; default: one more if something of it does not run
      [--owner ID]              who uses it: refused where somebody else does
  status NAME                   One line of JSON: whether all of it runs, its generation, the one wanted next, its owner.
  load-image NAME REFERENCE     Loads the archive of an image on standard input into all nodes that don't have it.
  kubectl NAME [--] ARGS...     kubectl of the cluster's administrator.
  ssh NAME NODE [--] COMMAND... A command on a node: 1, 2, …
  delete NAME [--owner ID]      Removes it with all its data.
  list                          All clusters of this user.

etcd, coredns, kubectl and Kubernetes' other programs, containerd, its shim and ctr are taken from PATH.
Exit codes: 0 done, 1 failed, 2 wrong command line, 3 programs missing.
END
}

command_ensure() {
	select_cluster "$@"
	shift
	read_ensure_options "$@"
	((UID == 0)) || die "an emulated cluster needs root, for a network of its own"
	require_programs ip nsenter openssl node debugfs mke2fs flock setsid
	require_cluster_programs
	lock_cluster
	! is_of_another "$OWNER" || die "the cluster $NAME is used by another deployment. Nothing was changed.
To remove it there with all its data: $TOOL delete $NAME"
	local started=$SECONDS
	link_tools
	[[ -z $OWNER ]] || echo "$OWNER" | write_file "$CLUSTER_DIR/owner"
	is_up || GENERATION=$((GENERATION + 1))
	GENERATION=${WANTED:-$GENERATION}
	rm -f "$CLUSTER_DIR/ready"
	step "base disk" find_base
	PARTS=$(parts_disk)
	step "disk of the nodes' programs" ensure_parts "$PARTS"
	ensure_keys
	step "network" ensure_network
	step "control plane" ensure_control_plane
	step "way in" ensure_forwards
	write_cluster_settings
	step "$NODES nodes" ensure_nodes
	touch "$CLUSTER_DIR/ready"
	say "the cluster $NAME is ready after $((SECONDS - started)) s"
	printf '{"name":"%s","kubeconfig":%s,"context":"%s","nodes":%s,"nodePort":%s,"generation":%s}\n' "$NAME" \
		"$(json_string "$CLUSTER_DIR/kubeconfig")" "$NAME" "$NODES" "$NODE_PORT" "$GENERATION"
}

find_base() { BASE=$(bash "$CLUSTER_SCRIPTS/../emulated-host.sh" base); }

command_status() {
	select_cluster "$@"
	read_cluster_settings || true
	local running=false wanted=$((GENERATION + 1))
	if is_up; then running=true wanted=$GENERATION; fi
	echo "{\"running\":$running,\"generation\":$GENERATION,\"wanted\":$wanted,\"owner\":\"$(read_owner)\",\"kubeconfig\":$(json_string "$CLUSTER_DIR/kubeconfig")}"
}

command_load_image() {
	select_cluster "$@"
	[[ ${2-} =~ ^[a-z0-9][a-z0-9_./-]*:[A-Za-z0-9_.-]+$ ]] || usage_error "load-image needs a REFERENCE, like server:1"
	lock_cluster
	require_up
	step "image on $NODES nodes" with_progress "loading the image $2" load_image "$2"
}

command_kubectl() {
	select_cluster "$@"
	shift
	[[ ${1-} != -- ]] || shift
	require_up
	exec "$(tool kubectl)" --kubeconfig "$CLUSTER_DIR/kubeconfig" "$@"
}

command_ssh() {
	select_cluster "$@"
	check_number NODE "${2-}" 1 "$MOST_NODES"
	local number=$2
	shift 2
	[[ ${1-} != -- ]] || shift
	require_up
	node_ssh "$number" "$@"
}

command_delete() {
	select_cluster "$@"
	shift
	local owner=''
	[[ ${1-} != --owner ]] || owner=${2-}
	lock_cluster
	if is_of_another "$owner"; then
		say "the cluster $NAME is used by another deployment: it is left alone"
		return
	fi
	remove_network
	# The other half of each way in, which is outside.
	for program in forward-api forward-service; do end_process "$program"; done
	rm -rf "$CLUSTER_DIR"
	rm -f "$CLUSTERS_DIR/.$NAME.lock"
}

command_list() {
	local folder
	for folder in "$CLUSTERS_DIR"/*/; do
		[[ -e $folder/settings ]] || continue
		select_cluster "$(basename "$folder")"
		read_cluster_settings
		printf '%s\t%s\t%s nodes\tservice %s:%s\n' "$NAME" "$(is_up && echo running || echo stopped)" "$NODES" "$ADDRESS" "$PORT"
	done
}

main() {
	local command=${1-}
	[[ -n $command ]] || { usage >&2; exit 2; }
	shift
	case $command in
	ensure | status | kubectl | ssh | delete | list) "command_$command" "$@" ;;
	load-image) command_load_image "$@" ;;
	-h | --help | help) usage ;;
	*) usage_error "there is no command $command" ;;
	esac
}

main "$@"
