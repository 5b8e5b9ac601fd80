# Part of preflight.sh: whether the server's port is free on the host. script() puts it before that script, which sets
# $port, $bind (the address that the port is published on), $name (our container), $containers, $root and $tab.

# Whether another container publishes the port on an address that overlaps with ours. Leaves the addresses that our
# own container publishes it on in $own.
check_containers() {
  published=$(printf '%s\n' "$containers" | awk -F '|' -v port="$port" '
    {
      n = split($2, ports, ", ")
      for (i = 1; i <= n; i++) {
        # 127.0.0.1:5555->5555/tcp, [::]:8000-8005->8000-8005/tcp; udp and unpublished ones do not count
        if (ports[i] !~ /->.*\/tcp$/) continue
        host = ports[i]; sub(/->.*/, "", host)
        range = host; sub(/.*:/, "", range)
        address = substr(host, 1, length(host) - length(range) - 1); gsub(/[][]/, "", address)
        split(range, ends, "-"); if (ends[2] == "") ends[2] = ends[1]
        if (port >= ends[1] + 0 && port <= ends[2] + 0) print $1 "\t" address
      }
    }')
  own=''
  while IFS=$tab read -r holder address; do
    [ -n "$holder" ] || continue
    if [ "$holder" = "$name" ]; then
      own="$own $address"
    elif overlaps "$address"; then
      report port-taken "Port $port on $bind is taken: the container $holder publishes it on $address." \
        "docker stop $holder   (or another port: pulumi config set microsandbox:hostPort $(next_port))"
    fi
  done <<PUBLISHED
$published
PUBLISHED
}

# Whether something that listens on address $1 keeps us from listening on $bind.
overlaps() {
  case $1 in "$bind" | ::) return 0 ;; 0.0.0.0) case $bind in *:*) return 1 ;; *) return 0 ;; esac ;; esac
  case $bind in ::) return 0 ;; 0.0.0.0) case $1 in *:*) return 1 ;; *) return 0 ;; esac ;; esac
  return 1
}

next_port() {
  if [ "$port" -lt 65535 ]; then echo $((port + 1)); else echo 5555; fi
}

# The sockets that listen on the port: `address inode` lines. Of IPv6 only what matters to others is told apart.
listeners() {
  cat "$root/proc/net/tcp" "$root/proc/net/tcp6" 2>/dev/null | awk -v port="$(printf '%04X' "$port")" '
    function byte(i) { return index(digits, substr(hex, i, 1)) * 16 + index(digits, substr(hex, i + 1, 1)) - 17 }
    function ipv4(i) { return byte(i + 6) "." byte(i + 4) "." byte(i + 2) "." byte(i) }
    BEGIN { digits = "0123456789ABCDEF" }
    $4 == "0A" {
      split($2, local, ":"); hex = local[1]
      if (local[2] != port) next
      if (length(hex) == 8) address = ipv4(1)
      else if (hex ~ /^0+$/) address = "::"
      else if (hex ~ /^0000000000000000FFFF0000/) address = ipv4(25)
      else if (hex ~ /^0+01000000$/) address = "::1"
      else address = "another-ipv6"
      print address, $10
    }'
}

# Whether any process but our container's proxy listens on an address that overlaps with ours.
check_listeners() {
  found=$(listeners)
  while read -r address inode; do
    [ -n "$address" ] || continue
    case " $own " in *" $address "*) continue ;; esac
    if overlaps "$address"; then
      holder=$(socket_holder "$inode")
      report port-taken "Port $port on $bind is taken: ${holder:-another process} listens on $address." \
        "sudo ss -ltnp 'sport = :$port'   (or another port: pulumi config set microsandbox:hostPort $(next_port))"
    fi
  done <<FOUND
$found
FOUND
}

# The process that holds a socket, as far as this user may see: `nginx (pid 123)`.
socket_holder() {
  fd=$(find /proc/[0-9]*/fd -lname "socket:\[$1\]" 2>/dev/null | head -n 1)
  pid=${fd#/proc/}
  pid=${pid%%/*}
  [ -z "$pid" ] || printf '%s (pid %s)' "$(cat "/proc/$pid/comm" 2>/dev/null)" "$pid"
}

# An address that this machine doesn't have fails late and unclear in the engine.
check_address() {
  case $bind in 127.* | ::1 | 0.0.0.0 | ::) return ;; esac
  addresses=$(ip -o addr show 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4 }')
  case "
$addresses
" in
    *"
$bind
"*) return ;;
  esac
  [ -z "$addresses" ] ||
    report no-such-address "The host has no address $bind, it has: $(printf '%s' "$addresses" | tr '\n' ' ')." \
      "pulumi config set microsandbox:bindAddress 127.0.0.1"
}
