# shellcheck shell=bash
# Messages, progress, and small helpers. Standard output is for results only; people read standard error.

say() { echo "emulated-host: $*" >&2; }

die() {
	echo "emulated-host: $*" >&2
	exit 1
}

# An error in the command line.
usage_error() {
	echo "emulated-host: $*" >&2
	echo "See: emulated-host.sh --help" >&2
	exit 2
}

# Runs the words given at the end of the script, however it ends (but by SIGKILL).
EXIT_ACTIONS=()
at_exit() {
	EXIT_ACTIONS+=("$1")
	trap run_exit_actions EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}
run_exit_actions() {
	local action
	for action in "${EXIT_ACTIONS[@]}"; do eval "$action"; done
}

# with_progress WHAT COMMAND...: a line every 5 seconds while COMMAND runs.
with_progress() {
	local what=$1 code=0 ticker
	shift
	(
		seconds=0
		# The sleep must not hold our output open when the ticker is ended.
		while sleep 5 >/dev/null 2>&1; do
			seconds=$((seconds + 5))
			say "$what: ${seconds} s"
		done
	) </dev/null >/dev/null &
	ticker=$!
	"$@" || code=$?
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	return "$code"
}

# Ends with exit code 3 and the packages to install where one of these programs is missing.
require_programs() {
	local program missing=() packages=()
	for program in "$@"; do
		command -v "$program" >/dev/null 2>&1 || missing+=("$program")
	done
	[[ ${#missing[@]} -gt 0 ]] || return 0
	for program in "${missing[@]}"; do packages+=("$(package_of "$program")"); done
	say "missing programs: ${missing[*]}"
	say "To install them on Debian or Ubuntu: sudo apt-get install $(printf '%s\n' "${packages[@]}" | sort -u | tr '\n' ' ')"
	exit 3
}

package_of() {
	case $1 in
	qemu-system-x86_64) echo qemu-system-x86 ;;
	qemu-system-aarch64) echo qemu-system-arm ;;
	mke2fs | e2fsck | resize2fs) echo e2fsprogs ;;
	ssh | ssh-keygen) echo openssh-client ;;
	flock | setsid) echo util-linux ;;
	newuidmap) echo uidmap ;;
	depmod) echo kmod ;;
	xz) echo xz-utils ;;
	*) echo "$1" ;;
	esac
}

# Takes the lock file $1 until the script ends; $2 is shown while another process has it.
# Whoever had it may have removed the file (delete): then the lock is on a file that is gone, so once more.
take_lock() {
	local file=$1 what=$2
	while true; do
		exec {LOCK_FD}>"$file"
		flock --nonblock "$LOCK_FD" || with_progress "$what" flock "$LOCK_FD"
		[[ ! $file -ef /proc/self/fd/$LOCK_FD ]] || return 0
		exec {LOCK_FD}>&-
	done
}

json_string() {
	local text=${1//\\/\\\\}
	printf '"%s"' "${text//\"/\\\"}"
}

# Writes standard input to a file so that it is never seen half-written.
write_file() {
	cat >"$1.new"
	mv "$1.new" "$1"
}

is_number() { [[ $1 =~ ^(0|[1-9][0-9]{0,8})$ ]]; }

# check_number OPTION VALUE LEAST MOST
check_number() {
	if ! is_number "$2" || (($2 < $3 || $2 > $4)); then
		usage_error "$1 $2: expected a whole number from $3 to $4"
	fi
}

# check_address OPTION VALUE
check_address() {
	[[ $2 =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || usage_error "$1 $2: expected an IPv4 address"
}

check_owner() {
	[[ $1 =~ ^[a-zA-Z0-9_.-]{0,64}$ ]] || usage_error "--owner $1: expected up to 64 letters, digits, dots, hyphens or underscores"
}

# read_values FILE NAME...: sets these variables from `name=value` lines, with values that were checked when they were
# written. Fails where there is no such file.
read_values() {
	local file=$1 key value
	shift
	[[ -e $file ]] || return 1
	while IFS='=' read -r key value; do
		[[ " $* " != *" $key "* ]] || printf -v "$key" '%s' "$value"
	done <"$file"
}
