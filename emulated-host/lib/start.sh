# shellcheck shell=bash
# Brings a host to what was asked of it.

# Running means: it was seen ready, and the process lives. A start that was cut short does not count.
is_running() { [[ -e $HOST_DIR/ready ]] && machine_pid >/dev/null; }

# Brings the host to what was asked, from whatever state it is in, and prints how to reach it.
ensure_running() {
	local port=$1 memory=$2 disk=$3 address=$4 architecture=$5 generation=$6 owner=$7 asked running attempt
	ARCHITECTURE=$architecture
	architecture_flags
	require_programs "$QEMU_PROGRAM" ssh ssh-keygen mke2fs e2fsck resize2fs flock setsid
	lock_host
	! is_of_another "$owner" || die "the host $NAME is used by another deployment. Nothing was changed.
To stop it there and use it and its volumes here: $TOOL delete $NAME --keep-disk"
	if read_settings && [[ $ARCHITECTURE != "$architecture" && -e $HOST_DIR/data.img ]]; then
		die "the host $NAME is $ARCHITECTURE, like everything on its disk; it can't become $architecture.
To recreate it without its volumes: $TOOL delete $NAME"
	fi
	ARCHITECTURE=$architecture
	ensure_base
	mkdir -p "$HOST_DIR"
	[[ -z $owner ]] || echo "$owner" | write_file "$HOST_DIR/owner"
	asked="$port $address $memory $(base_folder)"
	running="$SERVER_PORT $SERVER_ADDRESS $MEMORY_MIB $BASE"
	if machine_pid >/dev/null && [[ $asked != "$running" || $disk -gt $DISK_GIB ]]; then
		say "restarting the host $NAME: its settings changed"
		stop_machine
	fi
	SERVER_PORT=$port SERVER_ADDRESS=$address MEMORY_MIB=$memory DISK_GIB=$disk BASE=$(base_folder)
	if ! is_running; then
		[[ -n $generation ]] || generation=$(($(read_generation) + 1))
		for attempt in 1 2 3; do
			machine_pid >/dev/null || boot_machine
			if wait_until_ready; then
				touch "$HOST_DIR/ready"
				break
			fi
			# Somebody took the SSH port between our look and QEMU's: another one.
			if [[ $attempt == 3 ]] || ! grep -q "forwarding rule.*127.0.0.1:$SSH_PORT-" "$HOST_DIR/qemu.log"; then
				explain_death
			fi
		done
	fi
	[[ -z $generation ]] || echo "$generation" | write_file "$HOST_DIR/generation"
	print_connection
}

boot_machine() {
	ensure_ssh_port
	ensure_keys
	ensure_data_disk
	write_settings
	say "starting the host $NAME (emulated: takes a while)"
	launch_machine "$BASE"
}

explain_death() {
	show_logs
	if grep -q "forwarding rule.*:$SERVER_PORT-" "$HOST_DIR/qemu.log"; then
		die "port $SERVER_PORT of $SERVER_ADDRESS is taken, the host $NAME can't forward it. Stop what uses it (ss -ltnp), or set another hostPort"
	fi
	die "QEMU of the host $NAME ended before the host was ready. To try again: $TOOL resume $NAME"
}

print_connection() {
	printf '{"name":"%s","sshUser":"root","sshAddress":"127.0.0.1","sshPort":%s,"identityFile":%s,"knownHostsFile":%s,"generation":%s,"pid":%s}\n' \
		"$NAME" "$SSH_PORT" "$(json_string "$HOST_DIR/client_key")" "$(json_string "$HOST_DIR/known_hosts")" \
		"$(read_generation)" "$(machine_pid)"
}
