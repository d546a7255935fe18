#!/bin/sh
# runtime-spec, runtime.md: state, lifecycle, errors and operations. Which sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

sleeper() { # ID [JQ-PROGRAM]: runs
	bundle sleeper "${2:-.} | .process.args = [\"sleep\", \"60\"]"
	oci_ok run -d --bundle "$T/sleeper" "$1"
}

state_has() { # ID JQ-PROGRAM
	oci_ok state "$1"
	check jq -e "$2" "$T/out"
}

# ---- State ----

test_state_has_the_properties_of_the_spec() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["sleep", "60"] | .ociVersion = "1.0.2" | .annotations = {"com.example.key": "value"}'
	cd "$T" || return 1
	oci_ok create --bundle b "$c"
	state_has "$c" "(.ociVersion | type == \"string\") and .id == \"$c\" and .status == \"created\" and (.pid | type == \"number\")"
	oci_ok start "$c"
	state_has "$c" ".ociVersion == \"1.0.2\" and .status == \"running\" and .bundle == \"$(pwd -P)/b\""
	state_has "$c" '.annotations == {"com.example.key": "value"}'
	oci_ok delete -f "$c"
	check_nothing_left
}

test_state_names_the_process_by_the_hosts_number() {
	need_oci
	c=$(oci_id c)
	sleeper "$c"
	check_eq "$(tr '\0' ' ' <"/proc/$(oci_pid "$c")/cmdline")" "sleep 60 "
	check_eq "$(awk '/^NSpid/ { print $3 }' "/proc/$(oci_pid "$c")/status")" 1
	oci_ok delete -f "$c"
}

test_state_without_annotations_has_none_or_an_empty_map() {
	need_oci
	c=$(oci_id c)
	sleeper "$c"
	state_has "$c" '.annotations == null or .annotations == {}'
	oci_ok delete -f "$c"
}

test_status_goes_from_creating_to_stopped() {
	need_oci
	c=$(oci_id c)
	bundle b ".process.args = [\"sleep\", \"60\"] | .hooks.createRuntime = [{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"cat >$T/hook\"]}]"
	oci_ok create --bundle "$T/b" "$c"
	check_eq "$(jq -r .status "$T/hook")" creating
	check_eq "$(oci_status "$c")" created
	oci_ok start "$c"
	check_eq "$(oci_status "$c")" running
	oci_ok kill "$c" KILL
	wait_status "$c" stopped
	oci_ok delete "$c"
}

test_a_status_of_our_own_means_something_else() {
	need_oci
	c=$(oci_id c)
	sleeper "$c"
	oci_ok pause "$c"
	check_eq "$(oci_status "$c")" paused
	oci_ok delete -f "$c"
}

test_an_id_is_of_one_container() {
	need_oci
	c=$(oci_id c)
	sleeper "$c"
	pid=$(oci_pid "$c")
	oci create --bundle "$T/sleeper" "$c"
	check_eq "$status" 1
	check_contains "$T/err" "already exists"
	check_eq "$(oci_pid "$c")" "$pid"
	check_eq "$(oci_status "$c")" running
	oci_ok delete -f "$c"
}

# ---- Lifecycle ----

test_what_cannot_be_made_is_an_error() {
	need_oci
	refused '.mounts += [{"destination": "/x", "type": "nosuchfs", "source": "x"}]' nosuchfs
	refused '.root.path = "nosuch"' nosuch
	check_nothing_left
}

test_create_makes_everything_and_runs_nothing() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["touch", "/ran"] | .root.readonly = false | .hostname = "made" | .linux.resources.pids = {"limit": 77} | .linux.sysctl = {"net.ipv4.ip_forward": "1"} | .mounts += [{"destination": "/x", "type": "tmpfs", "source": "made"}]'
	oci_ok create --bundle "$T/b" "$c"
	pid=$(oci_pid "$c")
	check_eq "$(nsenter -t "$pid" -u hostname)" made
	check_eq "$(nsenter -t "$pid" -n cat /proc/sys/net/ipv4/ip_forward)" 1
	check_eq "$(group_file "$c" pids pids.max pids.max)" 77
	check_contains "/proc/$pid/mountinfo" " /x "
	for ns in mnt net ipc uts pid cgroup; do
		[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || fail "$ns is the host's"
	done
	[ ! -e "$T/rootfs/ran" ] || fail "the program ran"
	oci_ok start "$c"
	wait_status "$c" stopped
	[ -e "$T/rootfs/ran" ] || fail "the program did not run"
	oci_ok delete "$c"
	check_nothing_left
}

test_a_later_change_of_config_json_changes_nothing() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["touch", "/first"] | .root.readonly = false'
	oci_ok create --bundle "$T/b" "$c"
	bundle b '.process.args = ["touch", "/second"] | .root.readonly = false'
	oci_ok start "$c"
	wait_status "$c" stopped
	check_eq "$(cd "$T/rootfs" && ls -d first second 2>/dev/null)" first
	oci_ok delete "$c"
}

# A hook that fails ends create or start, and what was made; poststop hooks run.
failing_hook() { # KIND
	bundle b ".process.args = [\"sleep\", \"60\"] | .hooks.$1 = [{\"path\": \"/bin/false\"}] | .hooks.poststop = [{\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"echo $1 >>$T/stopped\"]}]"
	c=$(oci_id "$1")
	oci create --bundle "$T/b" "$c"
	[ "$status" != 0 ] || oci start "$c"
	check_eq "$status" 1
	check_contains "$T/err" /bin/false
	oci state "$c"
	check_eq "$status" 1
	check_contains "$T/err" "does not exist"
	check_eq "$(cat "$T/stopped")" "$1"
	rm "$T/stopped"
	check_nothing_left
}
test_a_failing_prestart_hook_ends_the_container() { need_oci && failing_hook prestart; }
test_a_failing_createRuntime_hook_ends_the_container() { need_oci && failing_hook createRuntime; }
test_a_failing_createContainer_hook_ends_the_container() { need_oci && failing_hook createContainer; }
test_a_failing_poststart_hook_ends_the_container() { need_oci && failing_hook poststart; }
test_a_failing_startContainer_hook_ends_the_container() { need_oci && failing_hook startContainer; }

test_a_failing_poststop_hook_stops_no_other() {
	need_oci
	bundle b ".process.args = [\"true\"] | .hooks.poststop = [{\"path\": \"/bin/false\"}, {\"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"echo second >$T/second\"]}]"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	check_eq "$(cat "$T/second")" second
	check_nothing_left
}

test_delete_undoes_what_create_did() {
	need_oci
	c=$(oci_id c)
	findmnt -rn >"$T/before"
	sleeper "$c" '.mounts += [{"destination": "/x", "type": "tmpfs", "source": "t"}]'
	[ -n "$(find /sys/fs/cgroup -type d -name "$c")" ] || fail "no group"
	oci_ok delete -f "$c"
	findmnt -rn >"$T/after"
	check cmp "$T/before" "$T/after"
	check_nothing_left
}

# ---- Errors ----

test_an_error_leaves_the_machine_as_it_was() {
	need_oci
	findmnt -rn >"$T/before"
	refused '.process.args = ["/nosuch"]' nosuch
	refused '.hooks.createContainer = [{"path": "/bin/false"}]' /bin/false
	refused '.linux.readonlyPaths = ["relative"]' readonlyPaths
	refused '.linux.seccomp = {"defaultAction": "SCMP_ACT_NO"}' SCMP_ACT_NO
	findmnt -rn >"$T/after"
	check cmp "$T/before" "$T/after"
	check_nothing_left
}

test_a_warning_lets_the_operation_go_on() {
	need_oci
	in_container 'echo ran' '.process.capabilities.bounding += ["CAP_NOT_YET"]'
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" ran
}

# ---- Operations ----

test_operations_without_an_id_are_errors() {
	need_oci
	bundle b .
	cd "$T/b" || return 1
	for operation in state create start kill delete; do
		oci "$operation"
		check_eq "$status" 1
		oci "$operation" ""
		check_eq "$status" 1
	done
	check_nothing_left
}

test_operations_on_what_does_not_exist_are_errors() {
	need_oci
	for operation in state start kill delete; do
		oci "$operation" "$(oci_id nobody)"
		check_eq "$status" 1
		check_contains "$T/err" "does not exist"
	done
}

test_create_without_a_bundle_is_an_error() {
	need_oci
	mkdir "$T/empty"
	cd "$T/empty" || return 1
	oci create "$(oci_id c)"
	check_eq "$status" 1
	check_contains "$T/err" config.json
	oci create --bundle "$T/nosuch" "$(oci_id c)"
	check_eq "$status" 1
	check_contains "$T/err" nosuch
	check_nothing_left
}

test_create_refuses_an_id_that_is_not_valid() {
	need_oci
	bundle b .
	for id in . .. .hidden ../up a/b 'a b' "$(printf 'a\nb')" "$(printf '%0300d' 0)"; do
		oci create --bundle "$T/b" "$id"
		check_eq "$status" 1
		check_contains "$T/err" "invalid container ID"
	done
	check_nothing_left
}

test_start_of_what_is_not_created_changes_nothing() {
	need_oci
	c=$(oci_id c)
	sleeper "$c"
	pid=$(oci_pid "$c")
	oci start "$c"
	check_eq "$status" 1
	check_eq "$(oci_status "$c") $(oci_pid "$c")" "running $pid"
	oci_ok kill "$c" KILL
	wait_status "$c" stopped
	oci start "$c"
	check_eq "$status" 1
	check_eq "$(oci_status "$c")" stopped
	oci_ok delete "$c"
}

test_start_runs_the_program() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["sh", "-c", "echo $0 $1 >/ran", "zero", "one"] | .root.readonly = false'
	oci_ok create --bundle "$T/b" "$c"
	oci_ok start "$c"
	wait_status "$c" stopped
	check_eq "$(cat "$T/rootfs/ran")" "zero one"
	oci_ok delete "$c"
}

test_start_without_a_process_is_an_error() {
	need_oci
	c=$(oci_id c)
	bundle b 'del(.process)'
	oci create --bundle "$T/b" "$c"
	[ "$status" != 0 ] || oci start "$c"
	check_eq "$status" 1
	check_contains "$T/err" process
	oci_ok delete --force "$c"
	check_nothing_left
}

test_kill_sends_the_signal_that_was_asked_for() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["sh", "-c", "for s in HUP USR1 TERM; do trap \"echo $s >>/got\" $s; done; : >/ready; while :; do sleep 0.05; done"] | .root.readonly = false'
	oci_ok run -d --bundle "$T/b" "$c"
	for kill_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -e "$T/rootfs/ready" ] || break
		command sleep 0.1
	done
	wanted=
	for sig in HUP 10 SIGTERM; do
		oci_ok kill "$c" "$sig"
		wanted="$wanted$sig "
		for kill_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			[ "$(grep -c . "$T/rootfs/got" 2>/dev/null)" != "$(echo "$wanted" | wc -w)" ] || break
			command sleep 0.1
		done
	done
	check_eq "$(tr '\n' ' ' <"$T/rootfs/got")" "HUP USR1 TERM "
	oci_ok delete -f "$c"
}

test_kill_reaches_a_created_container() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["sleep", "60"]'
	oci_ok create --bundle "$T/b" "$c"
	oci_ok kill "$c" KILL
	wait_status "$c" stopped
	oci_ok delete "$c"
}

test_kill_of_a_stopped_container_is_an_error() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["true"]'
	oci_ok run -d --bundle "$T/b" "$c"
	wait_status "$c" stopped
	oci kill "$c" TERM
	check_eq "$status" 1
	check_contains "$T/err" "not running"
	check_eq "$(oci_status "$c")" stopped
	oci_ok delete "$c"
}

test_delete_of_a_running_container_changes_nothing() {
	need_oci
	c=$(oci_id c)
	sleeper "$c"
	pid=$(oci_pid "$c")
	oci delete "$c"
	check_eq "$status" 1
	check_contains "$T/err" "not stopped"
	check_eq "$(oci_status "$c") $(oci_pid "$c")" "running $pid"
	oci_ok delete -f "$c"
}

# The one sentence that runtimes in the field do not keep, and callers count on that: see cases.tsv.
test_delete_of_a_created_container_ends_it_as_callers_expect() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["sleep", "60"]'
	oci_ok create --bundle "$T/b" "$c"
	oci_ok delete "$c"
	check_nothing_left
}

test_delete_leaves_what_create_did_not_make() {
	need_oci
	mkdir "$T/source"
	echo kept >"$T/source/file"
	a=$(oci_id a) b=$(oci_id b)
	sleeper "$a"
	sleeper "$b" "(.linux.namespaces[] | select(.type == \"network\")).path = \"/proc/$(oci_pid "$a")/ns/net\" | .mounts += [{\"destination\": \"/s\", \"source\": \"$T/source\", \"options\": [\"bind\"]}]"
	oci_ok delete -f "$b"
	check_eq "$(oci_status "$a")" running
	check_eq "$(cat "$T/source/file")" kept
	oci_ok exec "$a" true
	oci_ok delete -f "$a"
	check_nothing_left
}

test_delete_leaves_a_group_that_was_there() {
	need_oci
	c=$(oci_id c) made=
	for hierarchy in /sys/fs/cgroup/pids /sys/fs/cgroup/memory /sys/fs/cgroup; do
		[ -e "$hierarchy/cgroup.procs" ] || continue
		mkdir "$hierarchy/$c"
		made="$made $hierarchy/$c"
	done
	sleeper "$c" ".linux.cgroupsPath = \"/$c\""
	oci_ok delete -f "$c"
	left=
	for group in $made; do
		[ ! -d "$group" ] || left="$left $group"
		rmdir "$group" 2>/dev/null || :
	done
	check_eq "$left" "$made"
	check_nothing_left
}

test_an_id_serves_again_after_delete() {
	need_oci
	c=$(oci_id c)
	for round in 1 2; do
		sleeper "$c"
		oci_ok delete -f "$c"
	done
	check_nothing_left
}

run_tests "$@"
