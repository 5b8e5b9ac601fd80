#!/bin/sh
# Stands in for msb where no microVM can boot: the commands that the gateway uses, with msb's
# own sentences and exit codes. It is a shell script because it is started hundreds of times.
# State: MSB_HOME/fake/sandboxes/NAME.{conf,status,created}, MSB_HOME/fake/volumes/NAME.
# With a file MSB_HOME/fake/boots no microVM boots: they "fail", or "hang" until it says otherwise.
# Images: "broken" does not boot, "slow" takes half a second to boot, "slow-3" three. Those that can't be pulled: "absent",
# "pruned-*", "refused-*"; "hang-*" arrive when there is a file MSB_HOME/fake/release, "private/*" with a password;
# "big-*" are like "hang-*", and fill the disk until then.
# Snapshots: MSB_HOME/fake/snapshots/GROUP is the note of one, its files are where msb has them; captures.log has a line a
# command. With a file MSB_HOME/fake/captures they "fail", "hang" when half is made, or leave an "odd" description. What
# is done to a sandbox while it is captured leaves a line in overlaps.
# Pauses: with a file MSB_HOME/fake/pauses they "fail", or "hang", and resumes the same; pauses.log has a line a command.
# With a file MSB_HOME/fake/late no microVM answers a list in time: what is paused runs, then.
set -eu

fake=$MSB_HOME/fake
[ -d "$fake/volumes" ] || mkdir -p "$fake/sandboxes" "$fake/volumes"

fail() { # fail MESSAGE [LINE...]
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  → %s\n' "$line" >&2; done
  exit 1
}
now() { date -u +%Y-%m-%dT%H:%M:%S.%NZ; }
# field TEXT KEY: the string or number of a key in one line of JSON, "" without it
field() {
  case $1 in *"\"$2\":"*) ;; *) return 0 ;; esac
  value=${1#*"\"$2\":"}
  case $value in
  '"'*) value=${value#'"'} && value=${value%%'"'*} ;;
  *) value=${value%%[,\}]*} ;;
  esac
  printf %s "$value"
}
say() { # say NAME TEXT: a system line of the log
  printf '{"t":"%s","s":"system","d":"--- sandbox %s ---\\n"}\n' "$(now)" "$2" >>"$MSB_HOME/sandboxes/$1/logs/exec.log"
}
load() { # load NAME: sets conf, status, created
  [ -f "$sandboxes/$1.status" ] || fail "sandbox not found: $1"
  read -r conf <"$sandboxes/$1.conf"
  read -r status <"$sandboxes/$1.status"
  read -r created <"$sandboxes/$1.created"
}
set_status() { # set_status NAME STATUS
  echo "$2" >"$sandboxes/$1.status.$$"
  mv "$sandboxes/$1.status.$$" "$sandboxes/$1.status"
}
read_told() { # read_told FILE: how it is to go, once that is not "hang"
  how=well
  while [ -f "$fake/$1" ]; do
    read -r how <"$fake/$1" || true
    [ "$how" = hang ] || break
    how=well
    sleep 0.05
  done
}
boot_as_told() { # boot_as_told NAME
  read_told boots
  [ "$how" = fail ] || return 0
  set_status "$1" Stopped
  fail "failed to start \"$1\"" "other: sandbox process exited (exit status: 1)"
}

create() {
  : >"$fake/scripts"
  while [ $# -gt 0 ]; do
    case $1 in
    --name) name=$2 && shift ;;
    --conf) read -r conf <"$2" || true && shift ;;
    --script-path) cat "${2#*:}" >>"$fake/scripts" && shift ;;
    esac
    shift
  done
  image=$(field "$conf" oci)
  [ "$image" = starter ] || [ -f "$fake/images/$(file_of "$image")" ] || fail "image error: image not cached: $image"
  # As msb does: the folder comes first, and its being there is enough to refuse the name.
  mkdir -p "$MSB_HOME/sandboxes"
  mkdir "$MSB_HOME/sandboxes/$name" 2>/dev/null || fail "sandbox already exists: sandbox '$name' already exists; remove it"
  printf '%s\n' "$conf" >"$sandboxes/$name.conf"
  now >"$sandboxes/$name.created"
  set_status "$name" Starting
  case $image in
  slow) sleep 0.5 ;;
  slow-*) sleep "${image#slow-}" ;;
  esac
  boot_as_told "$name"
  if [ "$image" = broken ]; then
    set_status "$name" Stopped
    # shellcheck disable=SC2016 # the backquotes are msb's own
    fail "failed to start \"$name\"" "other: sandbox process exited (exit status: 1)" 'run `msb logs`'
  fi
  mkdir -p "$MSB_HOME/sandboxes/$name/logs"
  say "$name" started
  set_status "$name" Running
}

# merge FOLDER: makes one file of those in its root-disk.json, a path a line, as msb does. With a file
# MSB_HOME/fake/slow-merges each step takes a while. Its process leaves a line in merges.log.
merge() {
  echo $$ >>"$fake/merges.log"
  [ -f "$1/root-disk.json" ] || return 0
  stage=.compact-$$
  mkdir "$1/$stage"
  sed -n 's/.*"path":"\([^"]*\)".*/\1/p' "$1/root-disk.json" >"$1/$stage.paths"
  while read -r path; do
    cat "$1/$path" >>"$1/$stage/disk"
    [ ! -f "$fake/slow-merges" ] || sleep 0.05
  done <"$1/$stage.paths"
  printf '{"layers":[\n{"path":"%s"}\n]}\n' "$stage/disk" >"$1/root-disk.json.new"
  mv "$1/root-disk.json.new" "$1/root-disk.json"
  [ ! -f "$fake/slow-merges" ] || sleep 0.05
  while read -r path; do rm -f "$1/$path"; done <"$1/$stage.paths"
  rm -f "$1/$stage.paths"
}

# modify [--dry-run] [--next-start | --restart] --secret-rm=NAME... --format json -- NAME; each leaves a line in modifies.log
modify() {
  load "$last"
  echo "$*" >>"$fake/modifies.log"
  case $1 in
  --compact)
    untouched "$last"
    [ "$status" != Running ] || fail "local deadline expired (delivery: Unknown)"
    [ ! -f "$fake/slow-modify" ] || sleep 0.5
    merge "$MSB_HOME/sandboxes/$last/runtime"
    echo 1 >"$sandboxes/$last.layers"
    return 0
    ;;
  esac
  [ ! -f "$fake/slow-modify" ] || sleep 0.5
  while [ -f "$fake/hanging-modifies" ]; do sleep 0.05; done
  policy=no_restart applied=true changes='' removed=''
  for argument in "$@"; do
    case $argument in
    --dry-run) applied=false ;;
    --next-start) policy=next_start ;;
    --restart) policy=restart ;;
    esac
  done
  case $status in
  Running)
    when=live
    [ ! -f "$fake/no-live-secrets" ] || when='requires restart'
    [ $policy != next_start ] || when='next start'
    ;;
  Starting) when=unsupported ;;
  *) when='next start' ;;
  esac
  for argument in "$@"; do
    case $argument in --secret-rm=*) secret=${argument#*=} ;; *) continue ;; esac
    case $conf in *"\"$secret\":{\"value\":"*) ;; *) continue ;; esac
    ! grep -qsxF "$secret" "$sandboxes/$last.removed" || continue
    removed="$removed$secret
"
    changes="${changes:+$changes,}{\"kind\":\"secret\",\"field\":\"secret\",\"name\":\"$secret\",\"change\":\"removed\",
      \"before_ref\":\"\$MSB_$secret\",\"disposition\":\"$when\",\"allow_hosts\":[\"a.example\"]}"
  done
  refused=''
  case $when/$policy in unsupported/* | requires*/no_restart) [ -z "$changes" ] || [ $applied = false ] || refused=1 ;; esac
  [ -z "$refused" ] || applied=false
  printf '{"sandbox":"%s","status":"%s","applied":%s,"policy":"%s","changes":[%s],"conflicts":[],"warnings":[]}\n' \
    "$last" "$(echo "$status" | tr 'A-Z' 'a-z')" "$applied" "$policy" "$changes"
  [ -z "$refused" ] || exit 1
  [ $applied = false ] || printf %s "$removed" >>"$sandboxes/$last.removed"
}

list() {
  separator='['
  for file in "$sandboxes"/*.status; do
    name=${file##*/} && name=${name%.status}
    # What a command that was killed had begun to write may come after its removal.
    [ -f "$file" ] && [ -f "$sandboxes/$name.conf" ] || continue
    load "$name"
    [ "$status" != Paused ] || [ ! -f "$fake/late" ] || status=Running
    printf '%s{"name":"%s","status":"%s","created_at":"%s","image":"%s"}\n' \
      "$separator" "$name" "$status" "$created" "$(field "$conf" oci)"
    separator=,
  done
  [ "$separator" = , ] || printf '['
  printf ']\n'
}

inspect() {
  load "$1"
  cmd='["/bin/sh"]'
  [ ! -f "$fake/image-cmd" ] || cmd=$(cat "$fake/image-cmd")
  memory=$(field "$conf" memory)
  workdir=$(field "$conf" workdir)
  printf '{"name":"%s","status":"%s","config":{"image":{"Oci":{"reference":"%s"}},' "$1" "$status" "$(field "$conf" oci)"
  printf '"resources":{"cpus":%s,"memory_mib":%s},' "$(field "$conf" cpus)" "${memory%M}"
  printf '"runtime":{"workdir":"%s","shell":null,"user":null,"entrypoint":null,"cmd":%s},"labels":{}}}\n' "${workdir:-/image}" "$cmd"
}

volume() {
  case $1 in
  ls)
    separator='['
    for file in "$fake"/volumes/*; do
      [ -f "$file" ] || continue
      read -r created kind capacity <"$file"
      printf '%s{"name":"%s","kind":"%s","created_at":"%s","used_bytes":0,"capacity_bytes":%s}' \
        "$separator" "${file##*/}" "$kind" "$created" "$capacity"
      separator=,
    done
    [ "$separator" = , ] || printf '['
    printf ']\n'
    ;;
  create)
    [ ! -f "$fake/volumes/$last" ] || fail "volume already exists: $last"
    mkdir -p "$MSB_HOME/volumes/$last"
    kind=dir capacity=null
    while [ $# -gt 0 ]; do
      case $1 in
      --kind) kind=$2 ;;
      --size) capacity=$((${2%G} * 1024 * 1024 * 1024)) ;;
      esac
      shift
    done
    echo "$(now) $kind $capacity" >"$fake/volumes/$last"
    ;;
  rm)
    [ -f "$fake/volumes/$last" ] || fail "volume not found: $last"
    rm -r "$fake/volumes/$last" "$MSB_HOME/volumes/$last"
    ;;
  esac
}

# untouched NAME: notes where somebody captures it
untouched() { [ ! -d "$sandboxes/$1.capturing" ] || echo "$command $1" >>"$fake/overlaps"; }

# snapshot create s --sandbox NAME --group GROUP, snapshot rm --force GROUP:s|PATH
snapshot() {
  notes=$fake/snapshots
  mkdir -p "$notes"
  echo "$*" >>"$fake/captures.log"
  case $1 in
  create)
    member=$2 source=$4 group=$6
    load "$source"
    [ "$status" != Paused ] || fail "capture requires an acknowledged guest filesystem flush at this pause"
    [ ! -f "$notes/$group" ] || fail "snapshot already exists: $group:$member"
    mkdir "$sandboxes/$source.capturing" 2>/dev/null || untouched "$source"
    trap 'rm -rf "$sandboxes/$source.capturing"' EXIT
    layers=1
    [ ! -f "$sandboxes/$source.layers" ] || read -r layers <"$sandboxes/$source.layers"
    # As msb does: one that runs has a layer more, whatever comes of the capture.
    format=raw
    [ "$status" != Running ] || { layers=$((layers + 1)) && echo $layers >"$sandboxes/$source.layers"; }
    [ $layers -eq 1 ] || format=qcow2
    id=snap_$(printf %s "$group$(now)" | md5sum | cut -c1-32)
    artifact=$MSB_HOME/snapshots/$group/$id
    mkdir -p "$artifact/layers"
    echo '{}' | tee "${artifact%/*}/group.json" >"${artifact%/*}/.group.lock"
    seq 2000 >"$artifact/layers/layer_1.$format"
    read_told captures
    [ "$how" != fail ] || fail "snapshot capture failed: something of msb's own"
    digest=$(printf '%064d' 7)
    [ ! -f "$fake/loaded/starter" ] || { read -r digest <"$fake/loaded/starter" && digest=${digest#sha256:}; }
    image=$(field "$conf" oci)
    {
      [ "$how" != odd ] || printf 'odd'
      printf '{"schema":"microsandbox.snapshot/1","snapshot_id":"%s","scope":"file","image":{"reference":"docker.io/library/%s",' "$id" "$image"
      printf '"manifest_digest":"sha256:%s"},"state":{"disk_format":"%s","filesystem":"ext4","virtual_size":4294967296,' "$digest" "$format"
      printf '"layers":[{}'
      while [ $layers -gt 1 ]; do printf ',{}' && layers=$((layers - 1)); done
      printf ']},"capture":{"created_at":"%s","source_lineage":"%s","consistency":"crash-consistent"},"extensions":{},"requires":[]}' "$(now)" "$source"
    } >"$artifact/snapshot.json"
    echo "$id $image $digest" >"$notes/$group"
    printf '%s\n%s\n' "$id" "$artifact"
    ;;
  rm)
    case $3 in
    /*) group=${3%/snap_*} && group=${group##*/} ;;
    *) group=${3%:*} ;;
    esac
    [ -f "$notes/$group" ] || fail "snapshot not found: $3"
    # As msb does: by its group it finds only what has files, by its path its note as well.
    read -r id _ <"$notes/$group"
    case $3 in
    /*) [ "${3##*/}" = "$id" ] || fail "snapshot not found: $3" ;;
    *) [ -d "$MSB_HOME/snapshots/$group/$id" ] || fail "snapshot not found: $3" ;;
    esac
    rm -rf "${notes:?}/$group" "$MSB_HOME/snapshots/$group/$id"
    ;;
  esac
}

# restore [FLAG...] --name NAME GROUP:s: what it gets of the flags is its configuration
restore() {
  { echo "args: restore $*" && export -p; } >>"$fake/calls.log"
  cpus=1 memory=512M name=
  for argument in "$@"; do
    [ "$name" != next ] || name=$argument
    case $argument in
    --cpus=*) cpus=${argument#*=} ;;
    --memory=*) memory=${argument#*=} ;;
    --name) name=next ;;
    esac
  done
  [ -f "$fake/snapshots/${last%:*}" ] || fail "snapshot not found: $last"
  read -r _ image digest <"$fake/snapshots/${last%:*}"
  [ ! -d "$fake/loaded" ] || grep -qrF "$digest" "$fake/loaded" ||
    fail "snapshot base image sha256:$digest no longer available in registry (it may have been garbage-collected upstream); this snapshot cannot be restored losslessly: registry error"
  mkdir -p "$MSB_HOME/sandboxes"
  mkdir "$MSB_HOME/sandboxes/$name" 2>/dev/null || fail "sandbox already exists: sandbox '$name' already exists; remove it"
  printf '{"oci":"%s","cpus":%s,"memory":"%s","restored":"%s"}\n' "$image" "$cpus" "$memory" "$last" >"$sandboxes/$name.conf"
  now >"$sandboxes/$name.created"
  set_status "$name" Starting
  boot_as_told "$name"
  [ -f "$fake/snapshots/${last%:*}" ] || fail "the snapshot went while it was restored"
  mkdir -p "$MSB_HOME/sandboxes/$name/logs"
  say "$name" started
  set_status "$name" Running
}

# fork --quiet --dangerously-inherit-resources --names=NAME... -- SOURCE; each leaves a line in forks.log
fork() {
  echo "$*" >>"$fake/forks.log"
  load "$last"
  untouched "$last"
  case $status in Running | Paused) ;; *) fail "branch requires a running or user-paused source" ;; esac
  case $* in *--dangerously-inherit-resources*) ;; *) fail "source uses host-backed proxy, TLS or secret resources" ;; esac
  mkdir "$sandboxes/$last.capturing" 2>/dev/null || untouched "$last"
  trap 'rm -rf "$sandboxes/$last.capturing"' EXIT
  trap 'exit 143' TERM
  layers=1
  [ ! -f "$sandboxes/$last.layers" ] || read -r layers <"$sandboxes/$last.layers"
  echo $((layers + 1)) >"$sandboxes/$last.layers"
  for argument in "$@"; do
    case $argument in --names=*) name=${argument#*=} ;; *) continue ;; esac
    mkdir "$MSB_HOME/sandboxes/$name" 2>/dev/null || fail "sandbox already exists: sandbox '$name' already exists; remove it"
    printf '%s\n' "$conf" >"$sandboxes/$name.conf"
    now >"$sandboxes/$name.created"
    set_status "$name" Starting
    boot_as_told "$name"
    mkdir -p "$MSB_HOME/sandboxes/$name/logs"
    say "$name" started
    set_status "$name" Running
  done
}

# pull [--quiet] [--force] -- REFERENCE; each leaves a line in pulls.log: its options, the login that it shows, the process
pull() {
  login=none
  [ -z "${MSB_CONFIG_PATH:-}" ] || { read -r conf <"$MSB_CONFIG_PATH" || true; login=$(field "$conf" username)/${GATEWAY_REGISTRY_PASSWORD:-}; }
  echo "$* login=$login pid=$$" >>"$fake/pulls.log"
  mkdir -p "$fake/images"
  case $* in
  *--force*) ;;
  *) [ ! -f "$fake/images/$(file_of "$last")" ] || return 0 ;;
  esac
  url="https://inner.test/v2/$last/manifests/latest"
  name=${last#index.} && name=${name#docker.io/} && name=${name#library/} && name=${name%:latest}
  case $name in
  absent | pruned-*) fail "registry error: Registry error: url $url, envelope: OCI API errors: [OCI API error: manifest unknown]" ;;
  refused-*) fail "registry error: Not authorized: url $url" ;;
  broken-registry) fail "registry error: Server error: url $url, code: 500, message: inner" ;;
  unreachable) fail "registry error: error sending request for url ($url)" ;;
  private/*) [ -e "$fake/opened" ] || [ "$login" = me/right ] || fail "registry error: Not authorized: url $url" ;;
  hang-*) while [ ! -e "$fake/release" ]; do sleep 0.1; done ;;
  big-*)
    mkdir -p "$MSB_HOME/cache/tmp"
    part=$MSB_HOME/cache/tmp/sha256_$name.part
    while [ ! -e "$fake/release" ]; do head -c 262144 /dev/zero >>"$part" && sleep 0.2; done
    rm -f "$part"
    ;;
  esac
  version=1
  [ ! -f "$fake/version" ] || read -r version <"$fake/version"
  echo "$(now) sha256:$version" >"$fake/pulled.$$"
  mv "$fake/pulled.$$" "$fake/images/$(file_of "$last")"
}
# One file for all ways to write a name, as msb has it; none of those in the tests holds a registry but Docker's.
file_of() {
  file=${1#index.} && file=${file#docker.io/} && file=${file#library/}
  case $1 in *mirror/*) file=$1 ;; esac
  echo "${file%:latest}" | tr / %
}

# Images: MSB_HOME/fake/images/NAME (with % for /) holds the time of the download and a digest.
image() {
  images=$fake/images
  case $1 in
  ls)
    printf '[{"reference":"starter","created_at":"2020-01-01T00:00:00Z"}'
    for file in "$images"/*; do
      [ -f "$file" ] || continue
      digest=
      read -r created digest <"$file"
      printf ',{"reference":"%s","created_at":"%s","digest":"%s"}' "$(echo "${file##*/}" | tr % /)" "$created" "$digest"
    done
    for file in "$fake"/loaded/starter:*; do
      [ ! -f "$file" ] || printf ',{"reference":"%s","created_at":"2020-01-01T00:00:00Z"}' "${file##*/}"
    done
    printf ']\n'
    ;;
  rm)
    ! grep -qs " $last " "$fake"/snapshots/* || fail "image in use by sandbox(es): sandbox or snapshot dependency"
    ! grep -qsF "\"oci\":\"$last\"" "$sandboxes"/*.conf || fail "image in use by sandbox(es): 1"
    # Its files go after the check, as msb's do.
    [ ! -f "$fake/slow-removal" ] || sleep 0.3
    name=$(file_of "$last")
    rm "$images/$name"
    rm -rf "$MSB_HOME/cache/layers/$name"
    ;;
  esac
}

sandboxes=$fake/sandboxes
command=$1
shift
for last in "$@"; do :; done
case $command in
--version) echo "msb 0.7.11" ;;
ls) list ;;
inspect) inspect "$last" ;;
modify) modify "$@" ;;
create)
  { echo "args: $*" && export -p; } >>"$fake/calls.log"
  create "$@"
  ;;
start)
  load "$last"
  [ "$status" != Paused ] || fail "sandbox '$last' is in state Paused and cannot be started"
  [ -z "$(field "$conf" FAIL_START)" ] || fail "failed to start \"$last\"" "other: no memory"
  boot_as_told "$last"
  mkdir -p "$MSB_HOME/sandboxes/$last/logs" # Its making may have been cut off before.
  set_status "$last" Running
  say "$last" started
  ;;
stop)
  load "$last"
  untouched "$last"
  echo "$*" >>"$fake/stops.log"
  case "$status $*" in
  'Paused --force'*) ;;
  Paused*) fail "cannot gracefully stop paused sandbox \"$last\"; resume it first or explicitly kill it" ;;
  esac
  delay=$(field "$conf" SLOW_STOP) timeout=
  while [ $# -gt 1 ]; do
    [ "$1" != --timeout ] || timeout=$2
    shift
  done
  if [ -n "$delay" ] && [ -n "$timeout" ] && [ "$timeout" -lt "${delay%.*}" ]; then
    # As msb does: what has not stopped in time is killed.
    sleep "$timeout" && say "$last" killed
  elif [ -n "$delay" ]; then
    sleep "$delay"
  fi
  set_status "$last" Stopped
  say "$last" stopped
  ;;
pause | resume)
  load "$last"
  untouched "$last"
  echo "$command $last" >>"$fake/pauses.log"
  read_told pauses
  [ "$how" != fail ] || fail "VM $command failed: something of msb's own"
  # Its microVM may have ended meanwhile.
  load "$last"
  case $command$status in
  pauseRunning) set_status "$last" Paused ;;
  resumePaused) set_status "$last" Running ;;
  *) fail "sandbox '$last' is in state $status" ;;
  esac
  ;;
rm)
  load "$last"
  untouched "$last"
  rm -rf "$sandboxes/$last.layers"
  rm -rf "$sandboxes/$last.removed" "$sandboxes/$last.status" "$sandboxes/$last.conf" "$sandboxes/$last.created" "$MSB_HOME/sandboxes/$last"
  ;;
fork) fork "$@" ;;
image) image "$@" ;;
pull) pull "$@" ;;
restore) restore "$@" ;;
snapshot) snapshot "$@" ;;
load) # -q -i ARCHIVE -t NAME
  mkdir -p "$fake/loaded"
  cp "$3.digest" "$fake/loaded/$5"
  ;;
volume) volume "$@" ;;
*)
  echo "error: unrecognized subcommand '$command'" >&2
  exit 2
  ;;
esac
