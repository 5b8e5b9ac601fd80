# shellcheck shell=bash
# The QEMU process of one host: its flags, its start, whether it lives.

# Debian's name of this machine's architecture, or of the one that is emulated where this one is neither.
own_architecture() { [[ $(uname -m) == aarch64 ]] && echo arm64 || echo amd64; }

# Sets QEMU_PROGRAM, QEMU_ARCH_FLAGS and KERNEL_ARGUMENTS for ARCHITECTURE.
architecture_flags() {
	case $ARCHITECTURE in
	amd64)
		QEMU_PROGRAM=qemu-system-x86_64
		# One processor: with two, the guest's kernel panics as soon as microVMs run side by side.
		# la57 off: five-level page tables break nested paging here. erms off: `rep movsb` is emulated byte by byte.
		QEMU_ARCH_FLAGS=(-machine q35 -accel "tcg,thread=single" -cpu "max,la57=off,erms=off" -smp 1)
		KERNEL_ARGUMENTS="console=ttyS0 random.trust_cpu=on no_timer_check clearcpuid=rep_good"
		;;
	arm64)
		QEMU_PROGRAM=qemu-system-aarch64
		# pauth-impdef: pointer authentication by the standard's cipher takes most of the time. sve off: the same.
		QEMU_ARCH_FLAGS=(-machine "virt,virtualization=on,gic-version=3" -accel "tcg,thread=multi"
			-cpu "max,pauth-impdef=on,sve=off" -smp 2)
		KERNEL_ARGUMENTS="console=ttyAMA0"
		;;
	esac
}

# Prints the number a process started at (in ticks since boot) together with the boot's id: a recycled process id,
# or one from before a reboot, differs.
process_birth() {
	local stat boot
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	read -r boot </proc/sys/kernel/random/boot_id
	# The name in the second field may hold blanks: count from behind it.
	set -- ${stat##*) }
	[[ $1 != Z ]] || return 1
	echo "${20}@$boot"
}

# Prints the id of the host's living QEMU process; fails where there is none.
machine_pid() {
	local pid birth
	[[ -e $HOST_DIR/pid ]] && read -r pid birth <"$HOST_DIR/pid" || return 1
	[[ $(process_birth "$pid") == "$birth" ]] || return 1
	echo "$pid"
}

# A path among QEMU's `name=value,` pairs, where a comma is written twice.
qemu_path() { echo "${1//,/,,}"; }

# Starts QEMU in a session of its own. It records its own id before it becomes QEMU, so that none can get lost.
launch_machine() {
	local base=$1 append more=()
	architecture_flags
	# What a host has besides, one word a line: a node of a cluster has a second network card.
	[[ ! -e $HOST_DIR/qemu-flags ]] || mapfile -t more <"$HOST_DIR/qemu-flags"
	append="root=/dev/nvme0n1 rw rootfstype=ext4 $KERNEL_ARGUMENTS quiet loglevel=4 net.ifnames=0 panic=1"
	append+=" mitigations=off nokaslr init_on_alloc=0 apparmor=0 audit=0"
	# A timer interrupt that emulation loses must not stop the guest: the periodic tick comes again.
	append+=" nohz=off highres=off"
	rm -f "$HOST_DIR/ready" "$HOST_DIR/pid"
	truncate -s 0 "$HOST_DIR/transfer.img"
	truncate -s "$TRANSFER_SIZE" "$HOST_DIR/transfer.img"
	: >"$HOST_DIR/console.log"
	export HOST_DIR
	export -f process_birth
	# shellcheck disable=SC2016 # the inner shell expands these
	setsid bash -c 'echo "$$ $(process_birth $$)" >"$HOST_DIR/pid" && exec "$@"' bash \
		"$QEMU_PROGRAM" -nodefaults -no-user-config -display none -no-reboot "${QEMU_ARCH_FLAGS[@]}" \
		-name "$NAME" -m "$MEMORY_MIB" -rtc base=utc,clock=host \
		-kernel "$base/vmlinuz" -append "$append" \
		-drive "id=system,file=$(qemu_path "$base/disk.img"),format=raw,if=none,snapshot=on,cache=unsafe" \
		-device nvme,drive=system,serial=system \
		-drive "id=data,file=$(qemu_path "$HOST_DIR/data.img"),format=raw,if=none,cache=writeback,discard=unmap" \
		-device virtio-blk-pci,drive=data \
		-drive "id=transfer,file=$(qemu_path "$HOST_DIR/transfer.img"),format=raw,if=none,readonly=on,file.locking=off" \
		-device virtio-blk-pci,drive=transfer \
		-netdev "user,id=net,ipv6=off,hostfwd=tcp:$SERVER_ADDRESS:$SERVER_PORT-:$SERVER_PORT,hostfwd=tcp:127.0.0.1:$SSH_PORT-:22" \
		-device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci \
		-fw_cfg "name=opt/microsandbox/name,string=$NAME" \
		-fw_cfg "name=opt/microsandbox/authorized-keys,file=$(qemu_path "$HOST_DIR/client_key.pub")" \
		-fw_cfg "name=opt/microsandbox/host-key,file=$(qemu_path "$HOST_DIR/host_key")" \
		-serial "file:$HOST_DIR/console.log" "${more[@]}" \
		</dev/null >"$HOST_DIR/qemu.log" 2>&1 {LOCK_FD}>&- &
	disown
	local tries
	for ((tries = 0; tries < 50; tries++)); do
		[[ ! -s $HOST_DIR/pid ]] || return 0
		sleep 0.1
	done
	die "QEMU did not start: $(tail -n 5 "$HOST_DIR/qemu.log")"
}

# Waits until the guest answers over SSH, its Docker engine answers and /dev/kvm is there.
wait_until_ready() {
	local started=$SECONDS told=0
	while true; do
		machine_pid >/dev/null || return 1
		if grep -q "the Docker engine answers" "$HOST_DIR/console.log" 2>/dev/null; then
			guest "docker version >/dev/null && test -c /dev/kvm" && break
		fi
		((SECONDS - started < START_TIMEOUT)) || break
		if ((SECONDS - started >= told + 5)); then
			told=$((SECONDS - started))
			say "waiting for the host $NAME to boot: $told s"
		fi
		sleep 0.3
	done
	if ((SECONDS - started >= START_TIMEOUT)); then
		show_logs
		die "the host $NAME is not ready after $START_TIMEOUT s. Give it longer: EMULATED_HOST_TIMEOUT=900"
	fi
	say "the host $NAME is ready after $((SECONDS - started)) s"
}

show_logs() {
	local log
	for log in qemu.log console.log; do
		[[ -s $HOST_DIR/$log ]] || continue
		say "last lines of $HOST_DIR/$log:"
		tail -n 15 "$HOST_DIR/$log" | tr -d '\r' | sed 's/^/  /' >&2
	done
}

# A path as the value of an ssh option, like sshPath of components/host/connection.ts.
ssh_path() {
	local path=${1//\\/\\\\}
	path=${path//\"/\\\"}
	echo "\"${path//%/%%}\""
}

# Sets SSH_COMMAND: never asks, trusts the one key that this host was given.
ssh_command() {
	SSH_COMMAND=(ssh -F /dev/null -p "$SSH_PORT" -o "IdentityFile=$(ssh_path "$HOST_DIR/client_key")"
		-o "UserKnownHostsFile=$(ssh_path "$HOST_DIR/known_hosts")" -o GlobalKnownHostsFile=/dev/null
		-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=15
		-o ServerAliveInterval=15 -o LogLevel=ERROR root@127.0.0.1)
}

# Runs a command line in the guest.
guest() {
	ssh_command
	"${SSH_COMMAND[@]}" "$@"
}

# Shuts the guest down: cleanly over SSH, else by ending QEMU. The disk has a journal: both are safe.
stop_machine() {
	local pid waited=0 step
	pid=$(machine_pid) || { rm -f "$HOST_DIR/pid" "$HOST_DIR/ready"; return 0; }
	say "shutting down the host $NAME"
	if [[ -e $HOST_DIR/ready ]] && guest "(sleep 0.2; poweroff) >/dev/null 2>&1 &" 2>/dev/null; then
		while machine_pid >/dev/null && ((waited < STOP_TIMEOUT * 5)); do
			sleep 0.2
			waited=$((waited + 1))
			((waited % 25)) || say "shutting down the host $NAME: $((waited / 5)) s"
		done
	fi
	for step in TERM KILL; do
		machine_pid >/dev/null || break
		kill "-$step" "$pid" 2>/dev/null || true
		for ((waited = 0; waited < 50; waited++)); do
			machine_pid >/dev/null || break
			sleep 0.1
		done
	done
	rm -f "$HOST_DIR/pid" "$HOST_DIR/ready"
}
