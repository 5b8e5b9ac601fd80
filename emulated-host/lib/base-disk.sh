# shellcheck shell=bash
# The base disk: a Debian system with kernel, Docker engine and sshd, without any key. Made once, kept in the
# cache under a name made of all that goes into it.

readonly BASE_RELEASE=trixie
# Packages are unpacked, never configured: no program of the guest's architecture runs on this machine, so arm64
# takes no emulation and amd64 half the time. base-customize.sh does the few things that are needed of their scripts.
readonly BASE_PACKAGES=base-files,base-passwd,bash,busybox-static,ca-certificates,coreutils,dash,debianutils,diffutils,docker-cli,\
docker.io,findutils,grep,gzip,hostname,iproute2,iptables,kmod,libc-bin,mawk,mount,ncurses-base,openssh-server,\
procps,sed,tar,util-linux
readonly BASE_SIZE=3G
readonly BASE_MAX_AGE_DAYS=30

# Prints the folder of the base disk for ARCHITECTURE; it may not exist yet.
base_folder() {
	local hash
	hash=$(cd "$SCRIPT_DIR" && {
		echo "$BASE_RELEASE $BASE_PACKAGES $BASE_SIZE"
		cat lib/base-customize.sh guest/*
	} | sha256sum)
	echo "$CACHE_DIR/base-$ARCHITECTURE-${hash:0:16}"
}

# Makes the base disk if the cache lacks it. Two at once: the second waits for the first.
ensure_base() {
	local folder lock
	folder=$(base_folder)
	if [[ ! -e $folder/disk.img ]]; then
		require_programs mmdebstrap mke2fs depmod xz
		# Without root, mmdebstrap works in a user namespace.
		((UID == 0)) || require_programs newuidmap
		mkdir -p "$CACHE_DIR"
		exec {lock}>"$CACHE_DIR/lock"
		with_progress "waiting for another process that makes the base disk" flock "$lock"
		[[ -e $folder/disk.img ]] || make_base "$folder"
		exec {lock}>&-
	fi
	touch "$folder"
}

make_base() {
	local folder=$1
	# mmdebstrap without root works as another user id, which has to get into this folder.
	BASE_WORK=$(mktemp -d "${TMPDIR:-/tmp}/emulated-host-base.XXXXXX")
	at_exit remove_base_work
	remove_left_work
	echo "$BASE_WORK" >"$CACHE_DIR/work"
	cp -r "$SCRIPT_DIR/guest" "$SCRIPT_DIR/lib" "$BASE_WORK/"
	mkdir "$BASE_WORK/out" "$BASE_WORK/tmp"
	truncate -s "$BASE_SIZE" "$BASE_WORK/out/disk.img"
	chmod -R a+rX "$BASE_WORK"
	chmod a+w "$BASE_WORK/out" "$BASE_WORK/out/disk.img" "$BASE_WORK/tmp"

	say "making the $ARCHITECTURE base disk from Debian $BASE_RELEASE packages (about a minute, once)"
	with_progress "making the base disk" run_mmdebstrap "$BASE_WORK" || {
		tail -n 15 "$BASE_WORK/log" >&2
		die "mmdebstrap could not make the base disk. Is the Debian mirror reachable?"
	}

	rm -rf "$CACHE_DIR"/.new-*
	local new="$CACHE_DIR/.new-$$"
	mkdir -p "$new"
	cp "$BASE_WORK/out/vmlinuz" "$new/"
	cp --sparse=always "$BASE_WORK/out/disk.img" "$new/"
	mv "$new" "$folder"
	remove_base_work
	find "$CACHE_DIR" -maxdepth 1 -name 'base-*' -mtime "+$BASE_MAX_AGE_DAYS" -exec rm -rf {} +
}

run_mmdebstrap() {
	local work=$1 namespace=()
	# What it mounts goes with it, even when it is killed. Without root it makes such a namespace itself.
	((UID != 0)) || namespace=(unshare --mount)
	TMPDIR=$work/tmp "${namespace[@]}" mmdebstrap --variant=extract \
		--architectures="$ARCHITECTURE" --include="$BASE_PACKAGES" \
		--extract-hook="bash '$work/lib/base-customize.sh' \"\$1\" '$work' 'linux-image-cloud-$ARCHITECTURE'" \
		--format=null "$BASE_RELEASE" - </dev/null >"$work/log" 2>&1
}

remove_base_work() {
	[[ -d $BASE_WORK ]] || return 0
	rm -rf --one-file-system "$BASE_WORK"
	rm -f "$CACHE_DIR/work"
}

# Removes what a builder that was killed left behind. Its files may belong to other user ids: then some stay.
remove_left_work() {
	local left
	[[ -s $CACHE_DIR/work ]] || return 0
	read -r left <"$CACHE_DIR/work"
	[[ $left != */emulated-host-base.* ]] || rm -rf --one-file-system "$left" 2>/dev/null || true
}
