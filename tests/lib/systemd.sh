# What the programs of tests/systemd share. They set CTL (systemctl for the right manager), SPECS (where the unit looks for
# shellcheck disable=SC2086 # CTL is words
# its specs) and UNIT_GROUP (the slice's directory).
# shellcheck shell=sh
[ -d /run/systemd/system ] || {
	echo "1..0 # SKIP systemd is not PID 1 here: sh tests/guest/run.sh systemd"
	exit 77
}

spec() { # NAME JSON
	mkdir -p "$SPECS"
	printf '%s\n' "$2" >"$SPECS/$1.json"
	case $SPECS in
	/home/*) chown -R "$USER_ID:$USER_ID" "${SPECS%/*}" ;;
	esac
}

property() { # NAME PROPERTY
	$CTL show -P "$2" "fsbox@$1"
}

group() { # NAME
	echo "$UNIT_GROUP/fsbox@$1.service"
}

journal() {
	journalctl --sync 2>/dev/null || :
	journalctl -o cat --no-pager -u "$1"
}

wait_until() { # PATH there|gone
	for _ in $(seq 150); do
		if [ -e "$1" ]; then state=there; else state=gone; fi
		[ $state != "$2" ] || return 0
		command sleep 0.1
	done
	fail "$1 is not $2"
}

start_sleeper() { # NAME
	spec "$1" '{"target":"'"$FUNCTIONS/sleep_forever.so"'","mem":256,"pids":77,"timeout":300}'
	check $CTL start "fsbox@$1"
	cell=
	for _ in $(seq 150); do
		cell=$(find "$(group "$1")" -name 'cell-*' -type d 2>/dev/null | head -n 1)
		[ -z "$cell" ] || [ -z "$(cat "$cell/cgroup.procs" 2>/dev/null)" ] || return 0
		command sleep 0.1
	done
	journal "fsbox@$1" | tail -n 5 | sed 's/^/# /'
	fail "no cell below $(group "$1")"
}

check_gone() { # NAME: neither group nor processes
	wait_until "$(group "$1")" gone
	check_eq "$(pgrep -c -x native || :)" 0
	check_eq "$(pgrep -c -x fsbox-init || :)" 0
}

check_limits_of_unit() {
	start_sleeper limits
	memory=$(cat "$cell/memory.max") pids=$(cat "$cell/pids.max") cpu=$(cat "$cell/cpu.max")
	main=$(property limits MainPID)
	where=$(sed -n 's/^0:://p' "/proc/$main/cgroup")
	check $CTL stop fsbox@limits
	check_eq "$memory" 268435456
	check_eq "$pids" 77
	# 256 MB are 14.5 % of a CPU once init is over
	check_eq "$(echo "$cpu" | awk '{ printf "%d", $1 / $2 * 1000 }')" 144
	check_eq "/sys/fs/cgroup${where%/*}" "$(group limits)"
	check_gone limits
}

check_stop_of_unit() {
	start_sleeper stop
	check $CTL stop fsbox@stop
	check_gone stop
	check_eq "$(property stop ActiveState)" inactive
}

check_kill_of_unit() {
	start_sleeper killed
	check $CTL kill --kill-whom=main -s KILL fsbox@killed
	check_gone killed
	check_eq "$(property killed Result)" signal
}

check_oom_of_unit() {
	spec oom '{"target":"'"$FUNCTIONS/memory_bomb.so"'","mem":64,"timeout":60}'
	run $CTL start --wait fsbox@oom
	check_eq "$(property oom ExecMainStatus)" 137
	check_eq "$(property oom ExecMainCode)" 1
	check_gone oom
}
