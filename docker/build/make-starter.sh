#!/bin/sh
# Makes the starter image: Debian's static busybox as an archive that `msb load` reads.
#   make-starter.sh ARCHITECTURE BUSYBOX ARCHIVE
# Beside ARCHIVE goes ARCHIVE.digest, the SHA-256 of the image's configuration: the gateway
# loads the archive again when it changes.
set -eu

architecture=$1 busybox=$2 archive=$3
created="$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
work=$(mktemp -d)
root=$work/root
image=$work/image

pack() { # pack FOLDER FILE: the same bytes for the same content
  tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" .
}

mkdir -p "$image" "$root/bin" "$root/etc" "$root/root" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" "$root/home"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
for applet in $(busybox --list); do [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"; done
mkdir -p "$root/usr" && ln -s ../bin "$root/usr/bin" && ln -s ../bin "$root/usr/sbin" && ln -s bin "$root/sbin"
echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false' >"$root/etc/passwd"
echo 'root:x:0:
nogroup:x:65534:' >"$root/etc/group"
echo 'PRETTY_NAME="microsandbox starter (busybox)"
ID=starter' >"$root/etc/os-release"

pack "$root" "$image/layer.tar"
layer=$(sha256sum "$image/layer.tar" | cut -d' ' -f1)
printf '{"architecture":"%s","os":"linux","created":"%s","config":{"Env":["PATH=/bin"],"Cmd":["/bin/sh"],"WorkingDir":"/root"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"%s","created_by":"busybox"}]}' \
  "$architecture" "$created" "$layer" "$created" >"$image/config.json"
digest=$(sha256sum "$image/config.json" | cut -d' ' -f1)
mv "$image/config.json" "$image/$digest.json"
mkdir "$image/$layer" && mv "$image/layer.tar" "$image/$layer/layer.tar"
printf '[{"Config":"%s.json","RepoTags":null,"Layers":["%s/layer.tar"]}]' "$digest" "$layer" >"$image/manifest.json"

mkdir -p "$(dirname "$archive")"
pack "$image" "$archive"
echo "sha256:$digest" >"$archive.digest"
rm -r "$work"
