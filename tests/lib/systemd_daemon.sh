# What the tests of fsboxd's units share, beside systemd.sh. They set CTL (systemctl for the right manager), AS (how a client's
# command runs), FSBOX_SOCKET and UNIT (the directory of the service's group).
# shellcheck shell=sh
# shellcheck disable=SC2086 # CTL and AS are words

client() { # fsbox's arguments
	$AS env FSBOX_SOCKET="$FSBOX_SOCKET" "$FSBOX" "$@"
}

state() { # UNIT
	$CTL show -P ActiveState "$1"
}

main_pid() {
	$CTL show -P MainPID fsbox.service
}

# The first of them is fsbox-spawn, which systemd knows; fsboxd is its child.
daemon_pid() {
	pgrep -x -P "$(main_pid)" fsboxd
}

cells() { # directories of cells' groups
	find /sys/fs/cgroup -name 'cell-*' -type d
}

no_cells() {
	[ -z "$(cells)" ]
}

is() { # WANTED COMMAND…
	is_wanted=$1
	shift
	[ "$("$@" 2>/dev/null)" = "$is_wanted" ]
}

tries() { # COMMAND…: until it is true
	for _ in $(seq 150); do
		! "$@" || return 0
		command sleep 0.1
	done
	$CTL status --no-pager -l fsbox.service | sed 's/^/# /'
	fail "did not come: $*"
}

answered() { # EVENT ANSWER
	is "$2" client invoke echo --event "$1"
}

check_first_client_starts_it() {
	check $CTL start fsbox.socket
	check_eq "$(state fsbox.service)" inactive
	check_status 0 client deploy --mem 64 echo "$FUNCTIONS/echo.so"
	check_eq "$(state fsbox.service)" active
	check_status 0 client invoke echo --event '{"a": 1}'
	check_eq "$(cat "$T/out")" '{"a": 1}'
	# Type=notify: it is fsbox-spawn itself that is watched, and it has said that it is ready.
	check_eq "$(cat "/proc/$(main_pid)/comm")" fsbox-spawn
}

check_cells_stand_below_the_unit() {
	check_status 0 client invoke echo --event 1
	id=$(client ps --json | jq -r '.cells[0].id')
	group=$(cells)
	check_eq "$group" "$(find "$UNIT" -name "cell-$id" -type d)"
	check_eq "$(cat "$group/memory.max")" 67108864
	tries grep -q 'frozen 1' "$group/cgroup.events"
	check_eq "$(find /sys/fs/cgroup -maxdepth 1 -name 'fsbox*' | wc -l)" 0
}

check_a_cell_out_of_memory_is_no_failure() {
	check_status 0 client deploy --mem 64 --timeout 60 bomb "$FUNCTIONS/memory_bomb.so"
	check_status 137 client invoke bomb
	check_contains "$T/out" Runtime.OutOfMemory
	check_eq "$(state fsbox.service)" active
	check_status 0 client undeploy bomb
	check_status 0 client invoke echo --event 1
}

check_fsboxd_dies_and_cells_stay() {
	check_status 0 client invoke echo --event 1
	id=$(client ps --json | jq -r '.cells[0].id')
	spawn=$(main_pid)
	kill -KILL "$(daemon_pid)"
	tries answered 2 2
	check_eq "$(client ps --json | jq -r '.cells[0].id')" "$id"
	check_eq "$(main_pid)" "$spawn"
}

check_kill_9_of_all_is_repaired() {
	before=$(cells)
	check $CTL kill -s KILL fsbox.service
	tries answered 3 3
	check_eq "$(state fsbox.service)" active
	for group in $before; do
		check [ ! -e "$group" ]
	done
}

check_reload_and_stop() {
	check $CTL reload fsbox.service
	tries answered 4 4
	check $CTL stop fsbox.socket fsbox.service
	check_eq "$($CTL show -P Result fsbox.service)" success
	check no_cells
	! cat /proc/[0-9]*/comm 2>/dev/null | grep -xE 'fsboxd|fsbox-spawn|fsbox-init|native' || fail "processes are left"
	check [ ! -S "$FSBOX_SOCKET" ]
	# Without the socket's unit it makes the socket itself; what was deployed is there again.
	check $CTL start fsbox.service
	check_status 0 client invoke echo --event 5
	check_eq "$(cat "$T/out")" 5
	check $CTL stop fsbox.service
	check no_cells
	check [ ! -S "$FSBOX_SOCKET" ]
}
