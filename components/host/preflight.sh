#!/bin/sh
# Says whether the server can be deployed to this machine's Docker engine: one line of JSON on standard output,
# exit status 0. Reads only. Runs as `sh -s` on the engine's host.
# Variables: NAME (our container, whose port is not taken), NETWORK, VOLUMES (their names, with spaces between),
# HOST_PORT, BIND_ADDRESS, MIN_API (default 1.41).
# Tests give a root folder for /proc, /sys and /dev in PREFLIGHT_ROOT.
set -u
export LC_ALL=C

name=${NAME:-}
port=${HOST_PORT:-}
bind=${BIND_ADDRESS:-127.0.0.1}
min_api=${MIN_API:-1.41}
root=${PREFLIGHT_ROOT:-}
engine=null
mtu=null
containers=''
objects=''
tab=$(printf '\t')

# Prints the verdict (code, message, command that fixes it) and ends the script.
report() {
  ok=false
  [ "$1" != ok ] || ok=true
  tun=false
  [ ! -c "$root/dev/net/tun" ] || tun=true
  swap=false
  for file in "$root"/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes "$root"/sys/fs/cgroup/*/memory.swap.max; do
    [ ! -e "$file" ] || swap=true
  done
  kvm_gid=$(stat -L -c '%g' "$root/dev/kvm" 2>/dev/null) || kvm_gid=null
  kvm_mode=$(stat -L -c '%a' "$root/dev/kvm" 2>/dev/null) || kvm_mode=
  addresses=$(host_addresses | awk '{ printf "%s\"%s\"", comma, $1; comma = "," }')
  printf '{"ok":%s,"code":"%s","message":%s,"remedy":%s,"engine":%s,"tun":%s,"swapLimit":%s,"mtu":%s,"kvmGid":%s,"kvmMode":"%s","addresses":[%s],"objects":[%s]}\n' \
    "$ok" "$1" "$(quote "$2")" "$(quote "${3:-}")" "$engine" "$tun" "$swap" "$mtu" "$kvm_gid" "$kvm_mode" "$addresses" "$objects"
  exit 0
}

# The addresses that reach this host: of IPv4 all, of IPv6 those that are more than a link's or its own. From the kernel:
# a host without the `ip` command has them too.
host_addresses() {
  awk '/\|-- / { address = $2 } /\/32 host LOCAL/ && !seen[address]++ { print address }' "$root/proc/net/fib_trie" 2>/dev/null
  awk '$4 == "00" { gsub(/..../, "&:", $1); print substr($1, 1, 39) }' "$root/proc/net/if_inet6" 2>/dev/null
}

check_engine() {
  if ! command -v docker >/dev/null 2>&1 && [ -e "$root/snap/bin/docker" ]; then
    report docker-missing "Docker is a snap here, and commands over SSH don't look for programs in /snap/bin." \
      "sudo ln -s /snap/bin/docker /usr/local/bin/docker"
  fi
  command -v docker >/dev/null 2>&1 ||
    report docker-missing "There is no docker command on this host." "sudo apt-get install docker.io"
  answer=$(docker version --format '{{.Server.Version}} {{.Server.APIVersion}} {{.Server.Arch}} {{.Server.Os}} {{range .Server.Components}}{{.Name}}{{end}}' 2>&1) ||
    explain_silence "$answer"
  # A client may print warnings first.
  answer=${answer##*"
"}
  read -r version api arch os components <<ANSWER
$answer
ANSWER
  case $arch in x86_64) arch=amd64 ;; aarch64 | arm64/*) arch=arm64 ;; esac
  cgroup=v1
  [ ! -f "$root/sys/fs/cgroup/cgroup.controllers" ] || cgroup=v2
  engine=$(printf '{"version":%s,"api":%s,"arch":%s,"os":%s,"cgroup":"%s"}' \
    "$(quote "$version")" "$(quote "$api")" "$(quote "$arch")" "$(quote "$os")" "$cgroup")

  case $components in *[Pp]odman*) refuse_podman ;; esac
  [ "$os" = linux ] || report not-linux "The Docker engine runs $os containers, and the server is a Linux one." \
    "pulumi config set microsandbox:host ssh://root@a-linux-machine-with-kvm"
  case $arch in amd64 | arm64) ;; *)
    report unsupported-arch "The Docker engine runs on $arch: the server exists for amd64 and arm64." \
      "pulumi config set microsandbox:host ssh://root@an-amd64-or-arm64-machine" ;;
  esac
  at_least "$api" "$min_api" ||
    report engine-too-old "The Docker engine $version speaks API $api; $min_api or newer (engine 20.10) is needed." \
      "sudo apt-get install --only-upgrade docker.io || sudo apt-get install --only-upgrade docker-ce"
}

refuse_podman() {
  report podman "This is Podman, which lacks features of Docker that the server needs (BuildKit, healthchecks)." \
    "sudo apt-get install docker.io   (and, where DOCKER_HOST names podman's socket: unset DOCKER_HOST)"
}

# What an engine that answers can still lack: it may be another machine's, or take from containers what guests need.
check_kind() {
  [ "$(uname -s)" = Linux ] || return
  facts=$(docker info --format '{{.KernelVersion}}{{"\t"}}{{.Name}}{{"\t"}}{{.SecurityOptions}}' 2>/dev/null) || return
  IFS=$tab read -r kernel machine options <<FACTS
${facts##*"
"}
FACTS
  # Devices, processors and addresses are looked at here, and have to be those of the engine's machine.
  case ${DOCKER_HOST:-unix://} in
    unix://* | tcp://127.* | tcp://localhost:* | tcp://\[::1\]:*) elsewhere='' ;;
    *) elsewhere=" ($DOCKER_HOST)" ;;
  esac
  if [ -n "$elsewhere" ] || [ "$kernel $machine" != "$(uname -r) $(uname -n)" ]; then
    report engine-elsewhere "The Docker engine$elsewhere is on another machine, $machine, or outside this container: its /dev/kvm and its addresses can't be checked from here." \
      "pulumi config set microsandbox:host ssh://root@$machine   (or, for this machine's own engine: unset DOCKER_HOST; docker context use default)"
  fi
  case $options in *name=userns*)
    report user-namespaces "The Docker engine remaps the users of containers (userns-remap): they get neither /dev/kvm nor privileges." \
      "remove userns-remap from /etc/docker/daemon.json, then: sudo systemctl restart docker" ;;
  esac
  case $options in *name=rootless*)
    case $(stat -L -c '%a' "$root/dev/kvm" 2>/dev/null) in *[67]) ;; *)
      report rootless "The Docker engine is rootless: its containers have none of your groups, and /dev/kvm is not open to all users." \
        "docker context use default   (the system's engine; or, until the next boot: sudo chmod 666 /dev/kvm)" ;;
    esac ;;
  esac
  [ -n "$(host_addresses)" ] ||
    report no-addresses "The host's addresses can't be read from /proc/net: sandboxes could not be kept from reaching them." \
      "ls -l /proc/net/fib_trie   (it has to be readable)"
}

# Whether version $1 is $2 or newer; both are major.minor.
at_least() {
  major=${1%%.*} minor=${1#*.} minor=${minor%%.*}
  [ "$major" -gt "${2%%.*}" ] 2>/dev/null || { [ "$major" -eq "${2%%.*}" ] && [ "$minor" -ge "${2#*.}" ]; } 2>/dev/null
}

explain_silence() {
  socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
  case $1$(docker --version 2>/dev/null) in *[Pp]odman*) refuse_podman ;; esac
  case $1 in
    *'ermission denied'*)
      user=$(id -un 2>/dev/null || id -u)
      case " $(id -Gn "$user" 2>/dev/null) " in
        *' docker '*) report group-after-login "$user was added to the group docker after this login: the session doesn't have it yet." \
          "newgrp docker   (or log out and in again; for a host over SSH: rm -rf /tmp/microsandbox-\$(id -u))" ;;
      esac
      report no-permission "$user may not use the Docker engine's socket $socket." \
        "sudo usermod -aG docker $user && newgrp docker" ;;
    *'is too new'*)
      report engine-too-old "The Docker engine is older than its client accepts; API $min_api (engine 20.10) is needed." \
        "sudo apt-get install --only-upgrade docker.io || sudo apt-get install --only-upgrade docker-ce" ;;
    *'is too old'*)
      report client-too-old "The docker command is older than its engine accepts." \
        "sudo apt-get install --only-upgrade docker-cli || sudo apt-get install --only-upgrade docker-ce-cli" ;;
    *)
      reason=$(printf '%s' "$1" | tr -s '\n' ' ' | sed 's/^ *//; s/ *$//' | cut -c 1-300)
      report engine-down "The Docker engine does not answer at $socket: $reason" \
        "sudo systemctl start docker || sudo service docker start" ;;
  esac
}

# Leaves in $objects, as JSON, what has a name that we need, with its labels and, of a volume, who uses it; and all
# containers, one a line, in $containers.
look_for_objects() {
  labels='{{.Label "io.microsandbox.project"}}|{{.Label "io.microsandbox.stack"}}|{{.Label "io.microsandbox.deployment"}}'
  containers=$(docker ps --all --no-trunc --format "{{.Names}}|{{.Ports}}|$labels|{{.Mounts}}|{{.ID}}" 2>/dev/null)
  mtu=$(docker network inspect bridge --format '{{index .Options "com.docker.network.driver.mtu"}}' 2>/dev/null | grep -E '^[0-9]+$') ||
    mtu=null
  found=$(
    printf '%s\n' "$containers" | awk -F '|' -v name="$name" '$1 == name { print "container|" $1 "|" $3 "|" $4 "|" $5 "|" $7 }'
    docker network ls --format "network|{{.Name}}|$labels" 2>/dev/null | awk -F '|' -v name="${NETWORK:-}" '$2 == name'
    docker volume ls --format "volume|{{.Name}}|$labels" 2>/dev/null |
      awk -F '|' -v names=" ${VOLUMES:-} " 'index(names, " " $2 " ")'
  )
  while IFS='|' read -r kind object project stack deployment id; do
    [ -n "$kind" ] || continue
    users=''
    [ "$kind" != volume ] || users=$(printf '%s\n' "$containers" | awk -F '|' -v volume="$object" '
      { n = split($6, mounts, ","); for (i = 1; i <= n; i++) if (mounts[i] == volume) { printf "%s\"%s\"", comma, $1; comma = "," } }')
    objects="$objects${objects:+,}$(printf '{"kind":"%s","name":%s,"project":%s,"stack":%s,"deployment":%s,"usedBy":[%s]%s}' \
      "$kind" "$(quote "$object")" "$(quote "$project")" "$(quote "$stack")" "$(quote "$deployment")" "$users" \
      "${id:+,\"id\":\"$id\"}")"
  done <<FOUND
$found
FOUND
}

check_engine
check_kind
[ -z "$name$port" ] || look_for_objects
if [ -n "$port" ]; then
  check_address
  check_containers
  check_listeners
fi
report ok "The Docker engine $version (API $api, $arch) can run the server."
