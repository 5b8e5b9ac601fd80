#!/bin/bash
# Called by mmdebstrap while the tree of unpacked packages exists: does what their scripts would have done, adds the
# kernel and our files, and packs the disk image. Runs no program of the tree.
# Arguments: the tree, the work folder (guest/ in it, out/ to fill), the kernel's package name.
set -eu
umask 022
PATH=$PATH:/usr/sbin:/sbin
root=$1 work=$2 kernel_meta=$3

rm -rf "$root"/usr/share/{doc,man,locale,info,bash-completion}

# Accounts, certificates, and the alternatives that a shell and the Docker engine look for.
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
echo 'sshd:x:100:65534::/run/sshd:/usr/sbin/nologin' >>"$root/etc/passwd"
printf 'kvm:x:104:\ndocker:x:105:\n' >>"$root/etc/group"
cp "$root/usr/share/libc-bin/nsswitch.conf" "$root/etc/nsswitch.conf"
rm -rf "$root/var/run" "$root/var/lock"
ln -s /run "$root/var/run"
ln -s /run/lock "$root/var/lock"
mkdir -p "$root/etc/ssl/certs"
find "$root/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$root/etc/ssl/certs/ca-certificates.crt"
ln -s mawk "$root/usr/bin/awk"
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
	ln -s xtables-nft-multi "$root/usr/sbin/$name"
done

# The kernel alone, without what its package asks for: there is no initrd (the drivers it needs are built in).
(
	cd "$work/out"
	export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
	kernel=$(apt-cache depends "$kernel_meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	apt-get download -o APT::Sandbox::User=root "$kernel"
	dpkg-deb --fsys-tarfile "$kernel"_*.deb | tar -x -C "$root" ./boot ./usr/lib/modules
	rm "$kernel"_*.deb
)
find "$root/usr/lib/modules" -name '*.ko.xz' -exec xz --decompress {} +
depmod --basedir "$root" "$(ls "$root/usr/lib/modules")"
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
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*

# A view of the tree without what mmdebstrap mounted in it (/proc, /sys).
mkdir "$work/out/tree"
mount --bind "$root" "$work/out/tree"
mke2fs -q -F -t ext4 -O ^has_journal -d "$work/out/tree" "$work/out/disk.img"
umount "$work/out/tree"
