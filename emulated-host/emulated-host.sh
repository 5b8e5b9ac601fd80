#!/bin/bash
# Emulated KVM hosts: QEMU machines with a Docker engine and a working /dev/kvm, for machines that have none.
# QEMU emulates the processor together with its virtualization, so real microVMs boot inside (slowly).
set -euo pipefail

SCRIPT_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# How to call this script, for lines to type.
TOOL=$(printf %q "$SCRIPT_DIR/emulated-host.sh")
readonly SCRIPT_DIR TOOL
PATH=$PATH:/usr/sbin:/sbin
CACHE_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/microsandbox-stack/emulated-host
HOSTS_DIR=${EMULATED_HOSTS_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/microsandbox-stack/emulated-hosts}
START_TIMEOUT=${EMULATED_HOST_TIMEOUT:-300}
readonly STOP_TIMEOUT=150
readonly TRANSFER_SIZE=16G
umask 077
export LC_ALL=C

# shellcheck source=lib/common.sh
source "$SCRIPT_DIR/lib/common.sh"
# shellcheck source=lib/host-files.sh
source "$SCRIPT_DIR/lib/host-files.sh"
# shellcheck source=lib/machine.sh
source "$SCRIPT_DIR/lib/machine.sh"
# shellcheck source=lib/base-disk.sh
source "$SCRIPT_DIR/lib/base-disk.sh"
# shellcheck source=lib/start.sh
source "$SCRIPT_DIR/lib/start.sh"

usage() {
	cat <<'END'
Usage: emulated-host.sh COMMAND

  status NAME                 One line of JSON: whether it runs, its generation (starts ordered), the generation wanted next, its owner.
  start NAME --port PORT      Creates and starts the host; does nothing if it already runs so. Prints how to reach it.
      [--architecture ARCH]     amd64 or arm64; default: this machine's own
      [--memory-mib 6144]       memory
      [--disk-gib 20]           disk of its Docker engine (sparse; it can grow but not shrink)
      [--generation N]          number to record for this start; default: one more if it has to be started
      [--server-address 127.0.0.1]  address of this machine that PORT is opened on and forwarded to PORT of the host
      [--owner ID]              who uses it: refused where somebody else does
  resume NAME                 Starts a stopped host with the settings of its last start; keeps its generation.
  stop NAME                   Shuts it down.
  delete NAME [--keep-disk]   Shuts it down and removes its files; --keep-disk keeps its disk and keys for whoever starts it next.
      [--owner ID]              leaves it alone where somebody else uses it
  load-image NAME FILE        Loads an archive made by `docker save` into its Docker engine; "-" reads standard input.
  ssh NAME [-- COMMAND...]    A shell, or a command, in the host.
  base [ARCHITECTURE]         Builds the base disk if it is not in the cache, and prints its folder.
  list                        All hosts of this user.

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 programs missing.
END
}

# Sets NAME and the folder of the host.
select_host() {
	NAME=${1-}
	[[ $NAME =~ ^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$ ]] ||
		usage_error "\"$NAME\" is not a valid host name: 1 to 63 letters, digits, dots, hyphens or underscores"
	HOST_DIR=$HOSTS_DIR/$NAME
	SERVER_PORT='' SERVER_ADDRESS='' MEMORY_MIB='' DISK_GIB='' SSH_PORT='' BASE=''
	# A host that was made before there was a choice.
	ARCHITECTURE=amd64
}

# Takes the lock of the host for the rest of the script.
lock_host() {
	mkdir -p "$HOSTS_DIR"
	take_lock "$HOSTS_DIR/.$NAME.lock" "waiting for another command on the host $NAME"
}

require_host() {
	read_settings || die "there is no host $NAME. To list all: $TOOL list"
}

require_running() {
	require_host
	machine_pid >/dev/null || die "the host $NAME is not running. To start it: $TOOL resume $NAME"
}

command_status() {
	select_host "$@"
	local generation running=false wanted
	generation=$(read_generation)
	wanted=$((generation + 1))
	if is_running; then
		running=true
		wanted=$generation
	fi
	echo "{\"running\":$running,\"generation\":$generation,\"wanted\":$wanted,\"owner\":\"$(read_owner)\"}"
}

command_start() {
	select_host "$@"
	shift
	local port='' memory=6144 disk=20 generation='' address=127.0.0.1 owner='' architecture
	architecture=$(own_architecture)
	while [[ $# -gt 0 ]]; do
		[[ $# -gt 1 ]] || usage_error "$1 needs a value"
		case $1 in
		--port) port=$2 ;;
		--architecture) architecture=$2 ;;
		--memory-mib) memory=$2 ;;
		--disk-gib) disk=$2 ;;
		--generation) generation=$2 ;;
		--server-address) address=$2 ;;
		--owner) owner=$2 ;;
		*) usage_error "start does not know $1" ;;
		esac
		shift 2
	done
	[[ -n $port ]] || usage_error "start needs --port PORT"
	check_number --port "$port" 1 65535
	check_number --memory-mib "$memory" 1024 1048576
	check_number --disk-gib "$disk" 2 16384
	[[ -z $generation ]] || check_number --generation "$generation" 1 999999999
	[[ $port != 22 ]] || usage_error "--port 22: that is the host's own SSH port, choose another"
	check_address --server-address "$address"
	check_architecture "$architecture"
	check_owner "$owner"
	ensure_running "$port" "$memory" "$disk" "$address" "$architecture" "$generation" "$owner"
}

command_resume() {
	select_host "$@"
	require_host
	ensure_running "$SERVER_PORT" "$MEMORY_MIB" "$DISK_GIB" "$SERVER_ADDRESS" "$ARCHITECTURE" "$(read_generation)" ''
}

check_architecture() {
	[[ $1 == amd64 || $1 == arm64 ]] || usage_error "there is no architecture $1: expected amd64 or arm64"
}

command_stop() {
	select_host "$@"
	[[ -d $HOST_DIR ]] || return 0
	lock_host
	read_settings || true
	stop_machine
}

command_delete() {
	select_host "$@"
	shift
	local keep='' owner=''
	while [[ $# -gt 0 ]]; do
		case $1 in
		--keep-disk) keep=yes ;;
		--owner) owner=${2-} && shift ;;
		*) usage_error "delete does not know $1" ;;
		esac
		shift
	done
	check_owner "$owner"
	lock_host
	if is_of_another "$owner"; then
		say "the host $NAME is used by another deployment: it is left alone"
		return
	fi
	if [[ -d $HOST_DIR ]]; then
		read_settings || true
		stop_machine
		if [[ -n $keep ]]; then
			rm -f "$HOST_DIR"/{console,qemu,fsck}.log "$HOST_DIR/transfer.img" "$HOST_DIR/owner"
		else
			rm -rf "$HOST_DIR"
		fi
	fi
	rm -f "$HOSTS_DIR/.$NAME.lock"
}

command_load_image() {
	select_host "$@"
	local file=${2-} size lock
	[[ -n $file ]] || usage_error "load-image needs a FILE, or - for standard input"
	[[ $file == - || -r $file ]] || usage_error "load-image can't read $file"
	require_running
	# By a disk that both sides see: the guest's processor would spend as long on SSH as on the image itself.
	exec {lock}<>"$HOST_DIR/transfer.img"
	flock "$lock"
	if [[ $file == - ]]; then
		size=$(dd of="$HOST_DIR/transfer.img" bs=1M iflag=fullblock conv=notrunc 2>&1 | sed -n 's/^\([0-9]*\) bytes.*/\1/p')
	else
		size=$(stat -Lc %s "$file")
		dd if="$file" of="$HOST_DIR/transfer.img" bs=4M conv=notrunc status=none
	fi
	[[ ${size:-0} -gt 0 ]] || die "load-image got nothing to load"
	with_progress "loading an image of $((size / 1000000)) MB into $NAME" guest "/usr/lib/emulated-host/load-image $size" ||
		die "the Docker engine of $NAME did not take the image"
	# Gives the space back.
	truncate -s 0 "$HOST_DIR/transfer.img"
	truncate -s "$TRANSFER_SIZE" "$HOST_DIR/transfer.img"
}

command_ssh() {
	select_host "$@"
	shift
	[[ ${1-} != -- ]] || shift
	require_running
	ssh_command
	exec "${SSH_COMMAND[@]}" "$@"
}

command_list() {
	local folder
	for folder in "$HOSTS_DIR"/*/; do
		[[ -e $folder/settings ]] || continue
		select_host "$(basename "$folder")"
		read_settings
		printf '%s\t%s\tserver %s:%s\tssh 127.0.0.1:%s\n' "$NAME" "$(is_running && echo running || echo stopped)" \
			"$SERVER_ADDRESS" "$SERVER_PORT" "$SSH_PORT"
	done
}

command_base() {
	ARCHITECTURE=${1-$(own_architecture)}
	check_architecture "$ARCHITECTURE"
	ensure_base
	base_folder
}

main() {
	local command=${1-}
	[[ -n $command ]] || { usage >&2; exit 2; }
	shift
	case $command in
	status | start | resume | stop | delete | ssh | list | base) "command_$command" "$@" ;;
	load-image) command_load_image "$@" ;;
	-h | --help | help) usage ;;
	*) usage_error "there is no command $command" ;;
	esac
}

main "$@"
