# shellcheck shell=bash
# The disk with what makes a machine a node. Made once, kept in the cache under a name made of all that goes into it,
# and read by all nodes at once.

readonly PARTS_MAX_AGE_DAYS=30

# Prints the path of the disk; it may not exist yet. Programs have their version in their path, so their bytes are not read.
parts_disk() {
	local hash name
	hash=$({
		for name in $NODE_PROGRAMS; do tool "$name" && stat -c '%s %Y' "$(tool "$name")"; done
		for name in $CNI_PLUGINS; do stat -Lc '%s %Y' "$CNI_FOLDER/$name"; done
		basename "$BASE"
		cat "$CLUSTER_SCRIPTS/lib/parts.sh" "$CLUSTER_SCRIPTS"/guest/*
	} | sha256sum)
	echo "$CACHE_DIR/parts-${hash:0:16}.img"
}

# Makes the disk if the cache lacks it. Two at once: the second waits for the first.
ensure_parts() {
	local disk=$1 lock
	if [[ ! -e $disk ]]; then
		mkdir -p "$CACHE_DIR"
		exec {lock}>"$CACHE_DIR/parts.lock"
		with_progress "waiting for another process that makes the disk of the nodes' programs" flock "$lock"
		[[ -e $disk ]] || make_parts "$disk"
		exec {lock}>&-
	fi
	touch "$disk"
}

make_parts() {
	local disk=$1 work name
	rm -rf "$CACHE_DIR"/.parts-*
	work=$CACHE_DIR/.parts-$$
	mkdir -p "$work/tree/bin" "$work/tree/cni"
	for name in $NODE_PROGRAMS; do install -m 755 "$(tool "$name")" "$work/tree/bin/$name"; done
	for name in $CNI_PLUGINS; do install -m 755 "$CNI_FOLDER/$name" "$work/tree/cni/$name"; done
	install -m 755 "$CLUSTER_SCRIPTS"/guest/* "$work/tree/"
	make_pause_image "$work"
	truncate -s "$(($(du -sm "$work/tree" | cut -f1) + 64))M" "$work/disk.img"
	mke2fs -q -F -t ext4 -O ^has_journal -m 0 -d "$work/tree" "$work/disk.img"
	mv "$work/disk.img" "$disk"
	rm -rf "$work"
	find "$CACHE_DIR" -maxdepth 1 -name 'parts-*.img' -mtime "+$PARTS_MAX_AGE_DAYS" -delete
}

# The image of the process that holds a pod's namespaces: the base disk's busybox, which sleeps.
make_pause_image() {
	local work=$1 layer
	mkdir -p "$work/pause/bin" "$work/image"
	debugfs -R "dump /usr/bin/busybox $work/pause/bin/busybox" "$BASE/disk.img" 2>/dev/null
	[[ -s $work/pause/bin/busybox ]] || die "the base disk $BASE has no busybox. To make it anew: rm -r $BASE"
	chmod 755 "$work/pause/bin/busybox"
	tar -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$work/pause" -f "$work/image/layer.tar" .
	layer=$(sha256sum "$work/image/layer.tar")
	printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/bin/busybox","sleep","2147483647"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$(own_architecture)" "${layer%% *}" >"$work/image/config.json"
	echo '[{"Config":"config.json","RepoTags":["registry.k8s.io/pause:3.10"],"Layers":["layer.tar"]}]' >"$work/image/manifest.json"
	tar -c -C "$work/image" -f "$work/tree/pause.tar" manifest.json config.json layer.tar
}
