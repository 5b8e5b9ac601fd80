# Brings an image of this machine's engine to a host's and prints its id there. What the host has is not sent: all of it
# where it has the image under another name, else its first layers, as long as it has them in an image with the same ones.
# Variables: REFERENCE of the image, HOST_SHELL (a command line that runs the script on its standard input on the
# host), LOADER (one that loads the archive on its standard input there), LOADER_DEDUPLICATES (not empty: LOADER leaves out by itself).
set -eu

on_host() { printf '%s\n' "$1" | eval "$HOST_SHELL"; }

id=$(docker image inspect --format '{{.Id}}' "$REFERENCE")
found=$(on_host "
  id=\$(docker image inspect --format '{{.Id}}' '$REFERENCE' 2>/dev/null) || id=
  [ -n \"\$id\" ] || if docker tag '$id' '$REFERENCE' 2>/dev/null; then id='$id'; fi
  printf '%s' \"\$id\"")
if [ -n "$found" ]; then
  printf '%s\n' "$found"
  exit 0
fi

send_whole() { docker save "$REFERENCE" | eval "$LOADER" >&2; }

# How many layers, from the first one, some image on the host has as well.
common_layers() {
  ours=$(docker image inspect --format '{{json .RootFS.Layers}}' "$REFERENCE")
  # With containerd's image store an engine reads the whole archive.
  on_host "docker info --format '{{.DriverStatus}}' | grep -q containerd.snapshotter && exit 0
    docker images --all --quiet --no-trunc | sort -u |
    xargs -r docker image inspect --format '{{json .RootFS.Layers}}' 2>/dev/null || true" |
    OURS=$ours awk 'BEGIN { n = split(ENVIRON["OURS"], ours, ",") }
      { m = split($0, theirs, ","); gsub(/[][]/, "", theirs[1]); gsub(/[][]/, "", theirs[m]) }
      { for (i = 1; i <= n && i <= m; i++) { layer = ours[i]; gsub(/[][]/, "", layer); if (layer != theirs[i]) break }
        if (i - 1 > most) most = i - 1 }
      END { print most + 0 }'
}

# Sends the archive without the files of the first $1 layers: an engine does not read what it has. Fails where that
# can't be done: the archive has another form, or the engine wants all of it.
send_rest() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  docker save "$REFERENCE" | tar -x -C "$work"
  sed 's/.*"Layers":\[\([^]]*\)\].*/\1/' "$work/manifest.json" | tr -d '"' | tr ',' '\n' >"$work/layers"
  head -n "$1" "$work/layers" | while read -r file; do rm -f "$work/$file"; done
  tail -n "+$(($1 + 1))" "$work/layers" | while read -r file; do [ -e "$work/$file" ] || exit 1; done || return 1
  rm "$work/layers"
  tar -c -C "$work" . | eval "$LOADER" >&2
}

common=0
[ -n "${LOADER_DEDUPLICATES:-}" ] || common=$(common_layers)
if [ "$common" -eq 0 ] || ! send_rest "$common"; then send_whole; fi
on_host "docker image inspect --format '{{.Id}}' '$REFERENCE'"
