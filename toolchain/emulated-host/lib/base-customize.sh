#!/bin/bash
# Called by mmdebstrap while the system's tree exists: adds the kernel and our files, and packs the disk image.
# Arguments: the tree, the work folder (guest/ in it, out/ to fill), the kernel's package name.
set -eu
umask 022
root=$1 work=$2 kernel_meta=$3

# The kernel alone, without what its package asks for: there is no initrd (the drivers it needs are built in),
# and generating one takes longer than all the rest.
# shellcheck disable=SC2016 # the shell in the tree expands these
chroot "$root" sh -eu -c '
	cd /tmp
	kernel=$(apt-cache depends "$1" | sed -n "s/^ *Depends: \(linux-image-[0-9].*\)/\1/p" | head -n 1)
	apt-get download "$kernel"
	dpkg-deb --fsys-tarfile "$kernel"_*.deb | tar -x -C / ./boot ./usr/lib/modules
	rm "$kernel"_*.deb
	find /usr/lib/modules -name "*.ko.xz" -exec busybox unxz {} +
	depmod "$(ls /usr/lib/modules)"
' sh "$kernel_meta"
cp "$root"/boot/vmlinuz-* "$work/out/vmlinuz"
rm -f "$root"/boot/*

mkdir -p "$root/usr/lib/emulated-host"
for file in boot ssh-server docker-engine clock announce halt load-image; do
	install -m 755 "$work/guest/$file" "$root/usr/lib/emulated-host/$file"
done
install -m 644 "$work/guest/inittab" "$root/etc/inittab"
install -m 644 "$work/guest/sshd_config" "$root/etc/ssh/sshd_config"
ln -sf /usr/bin/busybox "$root/usr/sbin/init"
for applet in poweroff reboot halt; do
	ln -sf /usr/bin/busybox "$root/usr/sbin/$applet"
done
ln -sfn /proc/self/mounts "$root/etc/mtab"
echo "nameserver 10.0.2.3" >"$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n10.0.2.2 outer\n' >"$root/etc/hosts"
# The package made host keys; each emulated host gets its own at boot.
rm -f "$root"/etc/ssh/ssh_host_*
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/bash-completion 2>/dev/null || true

# A view of the tree without what mmdebstrap mounted in it (/proc, /sys).
mkdir "$work/out/tree"
mount --bind "$root" "$work/out/tree"
mke2fs -q -F -t ext4 -O ^has_journal -d "$work/out/tree" "$work/out/disk.img"
umount "$work/out/tree"
