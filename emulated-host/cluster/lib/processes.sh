# shellcheck shell=bash
# Programs on this machine that belong to the cluster: each is known by its id and its start, and logs to a file.

# Prints the id of a living program; fails where there is none.
process_of() {
	local pid birth file=$CLUSTER_DIR/run/$1.pid
	[[ -e $file ]] && read -r pid birth <"$file" || return 1
	[[ $(process_birth "$pid") == "$birth" ]] || return 1
	echo "$pid"
}

# launch NAME PROGRAM ARGS...: starts a program, unless it runs with these words already.
# It records its own id before it becomes the program, so that none can get lost.
launch() {
	local name=$1 words tries
	shift
	words=$(printf '%q ' "$@")
	if process_of "$name" >/dev/null; then
		[[ $words != "$(cat "$CLUSTER_DIR/run/$name.words" 2>/dev/null)" ]] || return 0
		end_process "$name"
	fi
	rm -f "$CLUSTER_DIR/run/$name.pid"
	echo "$words" | write_file "$CLUSTER_DIR/run/$name.words"
	export -f process_birth
	# shellcheck disable=SC2016 # the inner shell expands these
	PID_FILE=$CLUSTER_DIR/run/$name.pid setsid bash -c 'echo "$$ $(process_birth $$)" >"$PID_FILE" && exec "$@"' bash \
		"$@" </dev/null >"$CLUSTER_DIR/run/$name.log" 2>&1 {LOCK_FD}>&- &
	disown
	for ((tries = 0; tries < 100; tries++)); do
		[[ ! -s $CLUSTER_DIR/run/$name.pid ]] || return 0
		sleep 0.1
	done
	die "$name did not start: $(tail -n 5 "$CLUSTER_DIR/run/$name.log")"
}

end_process() {
	local pid step tries
	for step in TERM KILL; do
		pid=$(process_of "$1") || break
		kill "-$step" "$pid" 2>/dev/null || true
		for ((tries = 0; tries < 50; tries++)); do
			process_of "$1" >/dev/null || break
			sleep 0.1
		done
	done
	rm -f "$CLUSTER_DIR/run/$1".{pid,words}
}

# await WHAT SECONDS PROGRAM COMMAND...: until COMMAND succeeds; ends with the log of PROGRAM where that dies, or time is up.
await() {
	local what=$1 within=$2 program=$3 started=$SECONDS
	shift 3
	until "$@" >/dev/null 2>&1; do
		if ! process_of "$program" >/dev/null || ((SECONDS - started >= within)); then
			say "last lines of $CLUSTER_DIR/run/$program.log:"
			tail -n 15 "$CLUSTER_DIR/run/$program.log" | cut -c1-300 | sed 's/^/  /' >&2
			die "$what: not done after $((SECONDS - started)) s. To try again, the same command once more"
		fi
		sleep 0.3
	done
}

# step WHAT COMMAND...: runs it in this shell and tells how long it took.
step() {
	local what=$1 started=$EPOCHREALTIME took
	shift
	say "$what …"
	"$@"
	took=$(((${EPOCHREALTIME/[.,]/} - ${started/[.,]/}) / 100000))
	say "$what: $((took / 10)).$((took % 10)) s"
}
