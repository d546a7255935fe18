#!/bin/sh
# fsbox-oci's systemd driver where systemd does not answer as it should: in fsbox-scope's place stands a script that refuses, dies,
# hangs or does as it is told, in a mount namespace in which the host looks like one of systemd's. What a systemd does is
# tests/systemd/oci.sh's.
# time-limit: 300
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

# Its words stand in $T/said, a line for each time; $T/way is what it does on "start".
need_stand_in() {
	need_oci
	[ ! -e /run/systemd/system ] || skip_host "this host is run by systemd"
	mkdir -p /run/systemd "$T/bin"
	cp "$OCI" "$T/bin/fsbox-oci"
	OCI=$T/bin/fsbox-oci
	if oci_v2; then tree=/sys/fs/cgroup; else tree=/sys/fs/cgroup/unified; fi
	[ -e "$tree/cgroup.procs" ] || skip_host "no cgroup2"
	cat >"$T/bin/fsbox-scope" <<-END
		#!/bin/sh
		echo "\$1 \$2 \$3" >>"$T/said"
		group=/fsbox-test-$$-units/\$3
		case \$1 in
		start)
			case \$(cat "$T/way") in
			refuse) echo "starting of unit \$3: it exists"; exit 1 ;;
			die) kill -KILL \$\$ ;;
			hang) : >"$T/hangs"; exec sleep 600 ;;
			esac
			shift 3
			while [ "\$1" != PIDs ]; do shift; done
			mkdir -p $tree\$group
			echo "\$4" >$tree\$group/cgroup.procs
			echo "\$group"
			;;
		stop) rmdir $tree\$group 2>/dev/null || : ;;
		esac
	END
	chmod +x "$T/bin/fsbox-scope"
	echo work >"$T/way"
	: >"$T/said"
}

sd() {
	run unshare -m sh -c 'mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system && exec "$@"' sh \
		"$OCI" --root "$T/state" --systemd-cgroup "$@"
}
sd_ok() {
	sd "$@"
	check_eq "$status" 0
}
no_units() {
	find /sys/fs/cgroup -depth -type d -name "fsbox-test-$$-units" -exec rmdir {} + 2>/dev/null || : # what is above the scope
	check_nothing_left
}

test_a_unit_is_started_and_stopped() {
	need_stand_in
	id=$(oci_id a)
	bundle b ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"fsbox-test-$$.slice:p:a\""
	sd_ok run -d --bundle "$T/b" "$id"
	check_eq "$(cat "$T/said")" "start system p-a.scope"
	check_eq "$(jq -r .unit "$T/state/$id/state.json")" p-a.scope
	sd_ok delete --force "$id"
	check_eq "$(tail -n 1 "$T/said")" "stop system p-a.scope"
	no_units
}

# The name may be taken, in another slice: until systemd has said that it is ours it is not ours to stop.
test_what_was_never_asked_for_is_not_stopped() {
	need_stand_in
	id=$(oci_id n)
	bundle b ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"fsbox-test-$$.slice:p:n\"
		| .mounts += [{\"destination\": \"/x\", \"type\": \"bind\", \"source\": \"$T/nowhere\", \"options\": [\"bind\"]}]"
	sd create --bundle "$T/b" "$id"
	check_eq "$status" 1
	check_contains "$T/err" nowhere
	check_eq "$(cat "$T/said")" ""
	no_units
}

test_what_was_refused_is_not_stopped() {
	need_stand_in
	echo refuse >"$T/way"
	id=$(oci_id r)
	bundle b ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"fsbox-test-$$.slice:p:r\""
	sd create --bundle "$T/b" "$id"
	check_eq "$status" 1
	check_contains "$T/err" "starting of unit p-r.scope: it exists"
	check_eq "$(wc -l <"$T/err")" 1
	check_eq "$(cat "$T/said")" "start system p-r.scope"
	no_units
}

test_what_may_have_been_started_is_stopped() {
	need_stand_in
	echo die >"$T/way"
	id=$(oci_id d)
	bundle b ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"fsbox-test-$$.slice:p:d\""
	sd create --bundle "$T/b" "$id"
	check_eq "$status" 1
	check_contains "$T/err" "fsbox-scope ended without a word"
	check_eq "$(tail -n 1 "$T/said")" "stop system p-d.scope"
	no_units
}

test_a_maker_killed_while_systemd_works() {
	need_stand_in
	echo hang >"$T/way"
	id=$(oci_id h)
	bundle b ".process.args = [\"sleep\", \"600\"] | .linux.cgroupsPath = \"fsbox-test-$$.slice:p:h\""
	unshare -m sh -c 'mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system && exec "$@"' sh \
		"$OCI" --root "$T/state" --systemd-cgroup create --bundle "$T/b" "$id" </dev/null >"$T/out" 2>&1 &
	maker=$!
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -e "$T/hangs" ] || break
		command sleep 0.1
	done
	check test -e "$T/hangs"
	helper=$(pgrep -P "$maker" -f 'sleep 600')
	kill -KILL "$maker"
	wait "$maker" || :
	kill "$helper"
	echo work >"$T/way"
	sd_ok delete --force "$id"
	check_eq "$(tail -n 1 "$T/said")" "stop system p-h.scope"
	no_units
}

run_tests "$@"
