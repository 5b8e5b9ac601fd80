#!/bin/sh
# A machine of its own for tests: a network namespace with an SSH server and a Docker engine, which have their own /run
# and /var/lib/docker. Reached from this machine alone, by a pair of virtual network cards.
#   machine.sh up NAME FOLDER NUMBER   makes it; ends when it is ended
#   machine.sh cut NAME FOLDER         ends its SSH server and all connections, until FOLDER/cut is removed
#   machine.sh down NAME FOLDER        removes what is left of it
set -eu
PATH=$PATH:/usr/sbin:/sbin

up() {
  name=$1 folder=$2 number=$3
  mkdir -p "$folder/run/sshd" "$folder/docker"
  # A run that was killed leaves its own behind.
  remove_network "$name"
  ip netns add "$name"
  ip link add "$name" type veth peer name eth0 netns "$name"
  ip addr add "10.213.$number.1/30" dev "$name"
  ip link set "$name" up
  ip -n "$name" addr add "10.213.$number.2/30" dev eth0
  ip -n "$name" link set eth0 up
  ip -n "$name" link set lo up
  # To this machine's other addresses: a registry may be at one of them.
  ip -n "$name" route add default via "10.213.$number.1"
  exec nsenter "--net=/run/netns/$name" unshare --mount --propagation private sh "$0" inside "$folder" "10.213.$number.2"
}

inside() {
  folder=$1 address=$2
  mount --bind "$folder/run" /run
  mkdir -p /var/lib/docker
  mount --bind "$folder/docker" /var/lib/docker
  if [ -e "$folder/passwd" ]; then mount --bind "$folder/passwd" /etc/passwd; fi
  dockerd >"$folder/dockerd.log" 2>&1 &
  trap 'stop_engine; exit 0' TERM INT
  while :; do
    # A trap waits for a command in the foreground, but not for `wait`.
    if [ -e "$folder/cut" ]; then sleep 0.2 & else
      /usr/sbin/sshd -D -e -f "$folder/sshd_config" -o "ListenAddress=$address" >>"$folder/sshd.log" 2>&1 &
    fi
    wait $!
  done
}

# Ends the engine in good order. Its pid is asked for late: a test may have started it again.
stop_engine() {
  kill "$(cat /run/docker.pid)"
  for _ in $(seq 100); do
    [ -e /run/docker.pid ] || break
    sleep 0.1
  done
}

# Ends the processes of the machine, or those of one name.
end() {
  ip netns pids "$1" 2>/dev/null | while read -r pid; do
    command=$(cat "/proc/$pid/comm" 2>/dev/null || true)
    if [ "$command" = "${2:-$command}" ]; then kill "$pid" 2>/dev/null || true; fi
  done
}

cut() {
  touch "$2/cut"
  end "$1" sshd
}

# Ends every process of the machine, then removes its network.
remove_network() {
  end "$1"
  for _ in $(seq 50); do
    [ -n "$(ip netns pids "$1" 2>/dev/null)" ] || break
    sleep 0.2
  done
  ip netns del "$1" 2>/dev/null || true
  ip link del "$1" 2>/dev/null || true
}

down() {
  remove_network "$1"
  rm -rf "$2"
}

command=$1
shift
"$command" "$@"
