#!/bin/sh
# A container whose groups are its own, against who ends and removes it.
# time-limit: 300
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

# SCRIPT runs with its groups writable below /sys/fs/cgroup, and says "ready" in /tmp/ready.
own_groups() { # ID SCRIPT
	bundle own '.linux.namespaces = [.linux.namespaces[] | select(.type != "cgroup")] + [{"type": "cgroup"}]
		| .mounts = [.mounts[] | select(.destination != "/sys/fs/cgroup")]
		+ [{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev"]},
		   {"destination":"/tmp","type":"tmpfs","source":"tmpfs"}]'
	# shellcheck disable=SC2016 # jq's variable
	jq --arg script "$2" '.process.args = ["sh", "-c", $script]' "$T/own/config.json" >"$T/own/new"
	mv "$T/own/new" "$T/own/config.json"
	"$OCI" --root "$T/state" run -d --bundle "$T/own" "$1" </dev/null >"$T/log" 2>&1 || fail "$(cat "$T/log")"
	for own_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		[ ! -e "/proc/$(oci_pid "$1")/root/tmp/ready" ] || return 0
		command sleep 0.2
	done
	fail "it never was ready: $(cat "$T/log")"
}

if oci_v2; then
	ANY=/sys/fs/cgroup FREEZER=/sys/fs/cgroup FREEZE='echo 1 >/sys/fs/cgroup/cold/cgroup.freeze'
else
	ANY=/sys/fs/cgroup/pids FREEZER=/sys/fs/cgroup/freezer FREEZE='echo FROZEN >/sys/fs/cgroup/freezer/cold/freezer.state'
fi

test_as_deep_and_as_wide_as_it_likes() {
	need_oci
	id=$(oci_id deep)
	own_groups "$id" "cd $ANY; i=0; while [ \$i -lt 300 ]; do mkdir w\$i; i=\$((i+1)); done
		i=0; while [ \$i -lt 60 ]; do mkdir d || exit 1; cd d; i=\$((i+1)); done
		sleep 600 & echo \$! >cgroup.procs; touch /tmp/ready; trap '' TERM; while :; do sleep 1; done"
	oci_ok ps --format json "$id"
	oci_ok kill --all "$id" CONT
	oci_ok delete --force "$id"
	check_nothing_left
}

test_frozen_by_itself() {
	need_oci
	id=$(oci_id cold)
	own_groups "$id" "mkdir $FREEZER/cold && mkdir $FREEZER/cold/deeper && echo \$\$ >$FREEZER/cold/cgroup.procs
		(echo 0 >$FREEZER/cgroup.procs; $FREEZE; touch /tmp/ready); while :; do sleep 1; done"
	check_eq "$(oci_status "$id")" running
	oci_ok delete --force "$id"
	check_nothing_left
}

# One path for two, one after the other: who is over has no right to the group any more.
test_a_group_that_is_another_containers_by_now() {
	need_oci
	trees="/sys/fs/cgroup/unified /sys/fs/cgroup/pids /sys/fs/cgroup/memory"
	! oci_v2 || trees=/sys/fs/cgroup
	[ -e /sys/fs/cgroup/unified ] || oci_v2 || skip_host "no cgroup2, whose groups have attributes"
	for kind in made found; do
		a=$(oci_id a) b=$(oci_id b) path=/fsbox-test-$$-shared
		for tree in $trees; do [ "$kind" = made ] || mkdir "$tree$path"; done
		bundle b ".process.args = [\"true\"] | .linux.cgroupsPath = \"$path\""
		oci_ok create --bundle "$T/b" "$a"
		oci_ok start "$a"
		wait_status "$a" stopped
		bundle b ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"$path\""
		oci_ok create --bundle "$T/b" "$b"
		oci_ok start "$b"
		oci kill --all "$a" KILL
		check_eq "$status" 1
		check_contains "$T/err" "container not running"
		oci_ok delete --force "$a"
		check_eq "$(oci_status "$b")" running
		oci_ok delete --force "$b"
		if [ "$kind" = found ]; then # it was somebody else's, and still is
			find /sys/fs/cgroup -type d -name "fsbox-test-$$-shared" >"$T/left"
			check test -s "$T/left"
			xargs rmdir <"$T/left"
		fi
		check_nothing_left
	done
}

run_tests "$@"
