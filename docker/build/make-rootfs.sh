#!/bin/sh
# Makes the root file system of the server image from Debian packages of any architecture,
# without running one program of that architecture.
#   make-rootfs.sh ARCHITECTURE FOLDER
set -eu

architecture=$1 root=$2

# libc6, libgcc and libstdc++ are for node and msb, libcap-ng for msb 0.6; the rest is for people:
# a shell, time zones, certificates of registries. GNU tar copies sparse disks and extended attributes: backup, upgrade.
# attr has getfattr and setfattr: what guests see of the files of volumes is in attributes. Of coreutils only cp
# and du are taken, which libattr is for: cp skips the holes of sparse files, which busybox's reads; du measures trees of any
# depth, where busybox's ends at the longest path.
packages="base-files libc6 libgcc-s1 libstdc++6 libcap-ng0 bash libtinfo6 busybox-static tar libacl1 libselinux1 libpcre2-8-0 attr libattr1 coreutils"
independent="tzdata netbase"

dpkg --add-architecture "$architecture"
apt-get update -qq
download=$(mktemp -d)
chmod 1777 "$download"
(cd "$download" && { for package in $packages; do echo "$package:$architecture"; done && echo "$independent"; } | xargs apt-get download -qq)

mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done

# One file a package, as in "distroless" images: vulnerability scanners read it.
status=$root/var/lib/dpkg/status.d
mkdir -p "$status"
for file in "$download"/*.deb; do
  case $file in
  */coreutils_*)
    dpkg-deb -x "$file" "$download/coreutils"
    find "$download/coreutils" \( -path '*/bin/cp' -o -path '*/bin/du' \) -exec cp {} "$root/usr/bin/" \;
    mkdir -p "$root/usr/share/doc/coreutils"
    cp "$download/coreutils/usr/share/doc/coreutils/copyright" "$root/usr/share/doc/coreutils/"
    ;;
  *) dpkg-deb -x "$file" "$root" ;;
  esac
  package=$(dpkg-deb -f "$file" Package)
  dpkg-deb -f "$file" >"$status/$package"
done
rm -r "$download"

# Only what is read at run time; licence texts (copyright) stay.
rm -rf "$root/usr/share/man" "$root/usr/share/info" "$root/usr/share/locale" "$root/usr/share/lintian"
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete

for applet in $(busybox --list); do
  # Never over a program of a package (bash), and busybox links to itself already.
  [ -e "$root/usr/bin/$applet" ] || [ -e "$root/usr/sbin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done
[ -e "$root/usr/bin/sh" ] || ln -s busybox "$root/usr/bin/sh"

mkdir -p "$root/etc/ssl/certs" "$root/root" "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/workspace" \
  "$root/var/lib/microsandbox" "$root/var/tmp" "$root/tmp"
# A new volume takes owner and mode of the folder that it is mounted on, and COPY makes all of it root's. Whoever the
# server is, it is the only user in its container.
chmod 777 "$root/workspace" "$root/var/lib/microsandbox"
chmod 700 "$root/root"
chmod 1777 "$root/tmp" "$root/var/tmp"
cp /etc/ssl/certs/debian.crt "$root/etc/ssl/certs/ca-certificates.crt"
# microsandbox is who the server is where it is not root (components/server/server-user.ts).
echo 'root:x:0:0:root:/root:/bin/bash
microsandbox:x:5555:5555:microsandbox:/tmp:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:
kvm:x:104:
microsandbox:x:5555:
nogroup:x:65534:' >"$root/etc/group"
echo 'passwd: files
group: files
hosts: files dns
services: files
networks: files' >"$root/etc/nsswitch.conf"
ln -sf /usr/share/zoneinfo/Etc/UTC "$root/etc/localtime"
