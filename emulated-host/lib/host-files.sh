# shellcheck shell=bash
# The folder of one host: keys, disks, ports, and what it was started with.

# Reads what the host was last started with into SERVER_PORT and so on; values of this start win.
read_settings() {
	read_values "$HOST_DIR/settings" SERVER_PORT SERVER_ADDRESS MEMORY_MIB DISK_GIB SSH_PORT BASE ARCHITECTURE
}

write_settings() {
	printf '%s\n' "SERVER_PORT=$SERVER_PORT" "SERVER_ADDRESS=$SERVER_ADDRESS" "MEMORY_MIB=$MEMORY_MIB" \
		"DISK_GIB=$DISK_GIB" "SSH_PORT=$SSH_PORT" "BASE=$BASE" \
		"ARCHITECTURE=$ARCHITECTURE" | write_file "$HOST_DIR/settings"
}

read_generation() {
	local generation=0
	[[ ! -s $HOST_DIR/generation ]] || read -r generation <"$HOST_DIR/generation"
	is_number "$generation" || generation=0
	echo "$generation"
}

# Who uses the host: the id of a deployment, from its start to its delete. Nothing where nobody is known to.
read_owner() {
	local owner=''
	[[ ! -s $HOST_DIR/owner ]] || read -r owner <"$HOST_DIR/owner"
	echo "$owner"
}

# Whether somebody else than the one named uses the host. Whoever names nobody is asked nothing.
is_of_another() {
	local owner
	owner=$(read_owner)
	[[ -n $1 && -n $owner && $1 != "$owner" ]]
}

# Makes what is missing of the host's keys. Each pair appears in one step: the private key last.
ensure_keys() {
	local key
	for key in client_key host_key; do
		[[ ! -s $HOST_DIR/$key || ! -s $HOST_DIR/$key.pub ]] || continue
		rm -f "$HOST_DIR/$key" "$HOST_DIR/$key.pub" "$HOST_DIR/.$key.new" "$HOST_DIR/.$key.new.pub"
		ssh-keygen -q -t ed25519 -N '' -C "emulated-host $NAME" -f "$HOST_DIR/.$key.new" </dev/null
		mv "$HOST_DIR/.$key.new.pub" "$HOST_DIR/$key.pub"
		mv "$HOST_DIR/.$key.new" "$HOST_DIR/$key"
	done
	echo "[127.0.0.1]:$SSH_PORT $(cut -d' ' -f1,2 "$HOST_DIR/host_key.pub")" | write_file "$HOST_DIR/known_hosts"
}

# Makes, checks and grows the disk of the guest's Docker engine: an ext4 file system with a journal in a sparse file.
# The check runs out here, where the processor is fast.
ensure_data_disk() {
	local disk=$HOST_DIR/data.img wanted=$((DISK_GIB * 1024 * 1024 * 1024)) size code=0
	if [[ ! -e $disk ]]; then
		rm -f "$disk.new"
		truncate -s "$wanted" "$disk.new"
		mke2fs -q -F -t ext4 -i 32768 -m 0 -L docker -E lazy_itable_init=1,nodiscard "$disk.new"
		mv "$disk.new" "$disk"
		return
	fi
	e2fsck -p "$disk" >"$HOST_DIR/fsck.log" 2>&1 || code=$?
	if ((code >= 4)); then
		code=0
		e2fsck -fy "$disk" >>"$HOST_DIR/fsck.log" 2>&1 || code=$?
		((code < 4)) || die "the disk $disk is beyond repair (see $HOST_DIR/fsck.log).
To start with an empty one: $TOOL delete $NAME"
		say "the disk of $NAME was repaired (see $HOST_DIR/fsck.log)"
	fi
	size=$(stat -c %s "$disk")
	if ((wanted > size)); then
		truncate -s "$wanted" "$disk"
		e2fsck -fp "$disk" >>"$HOST_DIR/fsck.log" 2>&1 || true
		resize2fs "$disk" >>"$HOST_DIR/fsck.log" 2>&1 || die "the disk $disk can't grow (see $HOST_DIR/fsck.log)"
	elif ((wanted < size)); then
		say "the disk of $NAME stays at $((size / 1024 / 1024 / 1024)) GiB: it can't shrink"
	fi
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Keeps the SSH port of the last start if it is free, else picks one (below the ports that connections get).
ensure_ssh_port() {
	local tries
	[[ -z $SSH_PORT ]] || port_is_taken "$SSH_PORT" || return 0
	for ((tries = 0; tries < 50; tries++)); do
		SSH_PORT=$((20000 + RANDOM % 12000))
		((SSH_PORT == SERVER_PORT)) || port_is_taken "$SSH_PORT" || return 0
	done
	die "no free port for SSH between 20000 and 32000"
}
