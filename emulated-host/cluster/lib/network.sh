# shellcheck shell=bash
# The cluster's network: a namespace of its own with a bridge, on which the control plane is GATEWAY and node N is
# node_address N. What is in it can't be seen from outside, and all of its processes end with it.

readonly GATEWAY=10.77.0.1
readonly POD_PREFIX=10.244
readonly SERVICE_PREFIX=10.96

node_address() { echo "10.77.0.$((10 + $1))"; }

# Runs a program inside the namespace.
inside() { nsenter --net="$NETNS" -- "$@"; }

# Makes what is missing of it. Each step may have been done by a run that was cut short.
ensure_network() {
	local number
	# One that was made, and not yet mounted, is an empty file.
	if ! inside true 2>/dev/null; then
		rm -f "$NETNS"
		ip netns add "$(basename "$NETNS")"
	fi
	inside ip link set lo up
	inside ip link show bridge >/dev/null 2>&1 || inside ip link add bridge type bridge
	inside ip address replace "$GATEWAY/24" dev bridge
	inside ip link set bridge up
	inside sysctl -qw net.ipv4.ip_forward=1
	for ((number = 1; number <= NODES; number++)); do
		inside ip link show "node-$number" >/dev/null 2>&1 || inside ip tuntap add "node-$number" mode tap
		inside ip link set "node-$number" master bridge up
		inside ip route replace "$POD_PREFIX.$number.0/24" via "$(node_address "$number")"
	done
}

# Ends all that lives in the namespace, and removes it.
remove_network() {
	local name tries pids
	name=$(basename "$NETNS")
	[[ -e $NETNS ]] || return 0
	for ((tries = 0; tries < 100; tries++)); do
		pids=$(ip netns pids "$name" 2>/dev/null || true)
		[[ -n $pids ]] || break
		# shellcheck disable=SC2086 # a list
		kill -KILL $pids 2>/dev/null || true
		sleep 0.1
	done
	ip netns delete "$name" 2>/dev/null || rm -f "$NETNS"
}
