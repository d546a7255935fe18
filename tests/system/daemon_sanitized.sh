#!/bin/sh
# The tests of fsboxd's calls, users, faults and cells once more with a fsboxd under AddressSanitizer, UndefinedBehaviorSanitizer and
# LeakSanitizer (build/asan/fsboxd), and some under valgrind, which sees what is read uninitialised: what they say is on the
# daemon's standard error, where each test looks for complaints. Left out is what measures memory. time-limit: 900 beside-guest
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/daemon.sh
. "$(dirname "$0")/../lib/daemon.sh"
SANITIZED=$FSBOX_BUILD/asan/fsboxd

sanitized() { # SCRIPT ERE of the names that are left out
	need_daemon
	[ -x "$SANITIZED" ] || skip "no $SANITIZED: make VARIANT=asan build/asan/fsboxd"
	sed -n 's/^test_\([A-Za-z0-9_]*\)() *{.*/\1/p' "$FSBOX_SRC/tests/system/$1.sh" | grep -vE "$2" >"$T/names"
	check test "$(wc -l <"$T/names")" -gt 1
	DAEMON_FSBOXD=$SANITIZED
	other_fsboxd "$1"
}

other_fsboxd() { # SCRIPT: the tests in $T/names with $DAEMON_FSBOXD
	export DAEMON_FSBOXD
	status=0
	# shellcheck disable=SC2046 # words
	sh "$FSBOX_SRC/tests/system/$1.sh" $(cat "$T/names") >"$T/tap" 2>&1 || status=$?
	[ "$status" = 0 ] || {
		note "$(grep -E '^not ok' "$T/tap")"
		note "$(grep -B 45 -E '^not ok' "$T/tap" | tail -n 90)"
		fail "$1 with $DAEMON_FSBOXD: status $status"
	}
	check_eq "$(grep -c '^ok' "$T/tap")" "$(wc -l <"$T/names")"
}

test_it_is_that_program_and_its_complaints_are_heard() {
	need_daemon
	[ -x "$SANITIZED" ] || skip "no $SANITIZED: make VARIANT=asan build/asan/fsboxd"
	DAEMON_FSBOXD=$SANITIZED
	daemon_start
	steps <<-'END'
		with open("/proc/%d/maps" % pid_of("fsboxd")) as f:
		    true("libasan" in f.read(), "it is the sanitized one")
		os.kill(pid_of("fsboxd"), signal.SIGSEGV) # which the sanitizer reports
		until(lambda: "AddressSanitizer" in open(T + "/daemon").read(), "a complaint")
	END
	daemon_stop 'Sanitizer|^ |^$|^==|fsboxd \(pid [0-9]+\)|can not provide'
}

test_calls() {
	sanitized daemon_calls '^$'
}

test_users() {
	sanitized daemon_peers '^a_flood'
}

test_faults() {
	sanitized daemon_faults '^readers_that|^without_desc|^with_few'
}

test_cells() {
	sanitized daemon_hostile '^twenty'
}

test_crashes() {
	sanitized daemon_crash '^a_hundred'
}

test_what_is_stored() {
	sanitized daemon_stored '^thousands|^what_is_undeployed_while_it_comes|^a_disk' # the last one preloads something itself
}

# What is read before it was written, which the sanitizers do not see; and leaks of one call each.
test_calls_under_valgrind() {
	need_daemon
	command -v valgrind >/dev/null || skip "no valgrind: sh tools/deps.sh test"
	[ -f "$FSBOX_BUILD/tests/shim/syscalls.so" ] || skip "no $FSBOX_BUILD/tests/shim/syscalls.so"
	chmod 755 "$TAP_DIR" "$T"
	cat >"$T/fsboxd" <<-END
		#!/bin/sh
		LD_PRELOAD=$FSBOX_BUILD/tests/shim/syscalls.so exec valgrind -q --error-exitcode=99 --leak-check=full \
			--show-leak-kinds=definite --errors-for-leak-kinds=definite "$FSBOX_BUILD/fsboxd" "\$@"
	END
	chmod 755 "$T/fsboxd"
	DAEMON_FSBOXD=$T/fsboxd
	daemon_start
	steps <<-'END'
		true(fsboxd_pid() and not pid_of("fsboxd"), "it runs in valgrind")
	END
	daemon_stop
	cat >"$T/names" <<-'END'
		the_second_call_is_warm_and_the_cell_sleeps_between_them
		bodies_come_and_go_in_every_form
		bodies_that_are_wrong_are_refused_and_nothing_runs
		an_invocation_runs_at_most_once
		cancelling_ends_what_runs_and_what_waits
		undeployed_functions_leave_nothing
		logs_and_events_can_be_followed_from_where_one_was
		capacity_is_bounded_and_says_so
	END
	other_fsboxd daemon_calls
}
run_tests "$@"
