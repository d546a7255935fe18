#!/bin/sh
# Every stage of a container's making fails once, and the maker or the child dies there once: the error names the stage, nothing
# is left, or `delete --force` removes what is. Uses build/fault/fsbox-oci (make VARIANT=fault).
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
case $FSBOX_BUILD in
*/fault) ;;
*) OCI=$FSBOX_BUILD/fault/fsbox-oci ;;
esac

HOST_STAGES="cgroup listener prepare handover state"
CHILD_STAGES="namespaces ids names mounts devices console hooks masks pivot session limits lookup created"
START_STAGES="startHooks announce user exec"

need_faults() {
	need_oci
	FSBOX_FAULT=cgroup "$OCI" --version >/dev/null || skip "no $OCI: make VARIANT=fault"
}

test_the_stages_listed_here_are_all_that_the_source_has() {
	sed -n '/^} stages\[\] = {/,/^};/s/^[ \t]*{ "\([A-Za-z]*\)".*/\1/p' "$FSBOX_SRC/sandbox/cell/container_child.c" | sort >"$T/source"
	# shellcheck disable=SC2086 # words
	printf '%s\n' $CHILD_STAGES $START_STAGES | sort >"$T/here"
	check diff "$T/source" "$T/here"
}

test_a_failing_stage_is_named_and_leaves_nothing() {
	need_faults
	bundle b '.process.args = ["true"]'
	c=$(oci_id c)
	for stage in $HOST_STAGES $CHILD_STAGES; do
		FSBOX_FAULT=$stage oci create --bundle "$T/b" "$c"
		check_eq "$status" 1
		check_contains "$T/err" "(stage $stage)"
		check_eq "$(wc -l <"$T/err")" 1
		check_nothing_left
	done
	for stage in $START_STAGES; do
		FSBOX_FAULT=$stage oci create --bundle "$T/b" "$c"
		check_eq "$status" 0
		oci start "$c"
		check_eq "$status" 1
		check_contains "$T/err" "(stage $stage)"
		if [ "$stage" != startHooks ]; then # that destroys the container (runtime.md, "Lifecycle", step 8)
			wait_status "$c" stopped
			oci_ok delete "$c"
		fi
		check_nothing_left
		FSBOX_FAULT=$stage oci run --bundle "$T/b" "$c"
		check_eq "$status" 1
		check_contains "$T/err" "(stage $stage)"
		check_nothing_left
	done
}

test_whoever_dies_at_a_stage_leaves_what_delete_force_removes() {
	need_faults
	bundle b '.process.args = ["true"]'
	c=$(oci_id c)
	for stage in $CHILD_STAGES; do
		FSBOX_FAULT=$stage! oci create --bundle "$T/b" "$c"
		check_eq "$status" 1
		check_contains "$T/err" "died"
		check_nothing_left
	done
	for stage in $HOST_STAGES; do
		FSBOX_FAULT=$stage! oci create --bundle "$T/b" "$c"
		check_eq "$status" 99
		oci create --bundle "$T/b" "$c"
		check_eq "$status" 1
		oci_ok delete --force "$c"
		check_nothing_left
	done
}

test_a_maker_that_is_killed_at_any_moment_leaves_what_delete_force_removes() {
	need_faults
	bundle b '.process.args = ["sleep", "60"]'
	c=$(oci_id c)
	for delay in 0 1 2 3 4 5 6 8 10 14 20 30; do
		"$OCI" --root "$T/state" create --bundle "$T/b" "$c" >/dev/null 2>&1 </dev/null &
		maker=$!
		command sleep "0.0$(printf "%02d" "$delay")"
		kill -9 "$maker" 2>/dev/null || :
		wait "$maker" 2>/dev/null || :
		oci_ok delete --force "$c"
		check_nothing_left
	done
}

# The stages of restore that are none of create: "criu" is CRIU's process before it is that, "born" is when there is a first
# process, "restored" when all is there and has not run.
test_a_restore_that_fails_or_dies_leaves_nothing_or_what_delete_force_removes() {
	need_faults
	"$OCI" --version | grep -q '+CRIU' || skip "no CRIU (make criu)"
	bundle b '.process.args = ["sleep", "60"]'
	c=$(oci_id c)
	"$OCI" --root "$T/state" run -d --bundle "$T/b" "$c" </dev/null >/dev/null 2>&1
	oci_ok checkpoint --image-path "$T/img" "$c"
	oci_ok delete "$c"
	for stage in cgroup criu born restored; do
		FSBOX_FAULT=$stage oci restore -d --bundle "$T/b" --image-path "$T/img" "$c"
		check_eq "$status" 1
		check_contains "$T/err" "(stage $stage)"
		check_eq "$(wc -l <"$T/err")" 1
		check_nothing_left
	done
	FSBOX_FAULT=criu! oci restore -d --bundle "$T/b" --image-path "$T/img" "$c"
	check_eq "$status" 1
	check_eq "$(wc -l <"$T/err")" 1
	check_nothing_left
	for stage in cgroup born restored; do
		FSBOX_FAULT=$stage! oci restore -d --bundle "$T/b" --image-path "$T/img" "$c"
		check_eq "$status" 99
		oci_ok delete --force "$c"
		for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			pgrep -f "$FSBOX_BUILD/criu/lib.*criu: restore" >/dev/null || break
			command sleep 0.25
		done
		check_eq "$(pgrep -f "$FSBOX_BUILD/criu/lib.*criu: restore" | wc -l)" 0
		check_nothing_left
	done
	oci_ok restore -d --bundle "$T/b" --image-path "$T/img" "$c"
	oci_ok delete --force "$c"
	check_nothing_left
}

run_tests "$@"
