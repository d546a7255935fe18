#!/bin/sh
# How a cell ends when its owner wants it to or dies: timeouts over whole trees, signals to fsbox, kill -9 of fsbox at any
# moment, and output that nobody reads.
# time-limit: 240
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

lives() { # a process of a cell, started since the look
	world_lines | comm -13 "$T/world" - | grep -qE '^process (fsbox-init|native) '
}
gone() {
	! lives
}

# Runs fsbox with its signals as they are at a login, waits for TEXT on its stderr, sends SIGNAL, and writes to $T/end
# how it ended: "exit N" or "signal N", which a shell cannot tell from each other.
signal_after() { # SIGNAL TEXT fsbox's arguments
	signal=$1 text=$2
	shift 2
	user_dirs
	in_mode perl -e '
		my ($signal, $text, $dir, @command) = @ARGV;
		my $pid = fork();
		if ($pid == 0) {
			$SIG{$_} = "DEFAULT" for qw(INT QUIT TERM HUP PIPE);
			open STDIN, "<", "/dev/null";
			open STDOUT, ">", "$dir/out";
			open STDERR, ">", "$dir/err";
			exec @command or exit 127;
		}
		for (1 .. 500) {
			my $seen = "";
			if (open my $f, "<", "$dir/err") { local $/; $seen = <$f> // ""; }
			last if index($seen, $text) >= 0;
			select undef, undef, undef, 0.01;
		}
		kill $signal, $pid;
		local $SIG{ALRM} = sub { kill "KILL", $pid; print "late, "; };
		alarm 5;
		waitpid $pid, 0;
		printf "%s\n", $? & 127 ? "signal " . ($? & 127) : "exit " . ($? >> 8);
	' "$signal" "$text" "$T/xdg" "$FSBOX" "$@" >"$T/end"
	cp "$T/xdg/out" "$T/out"
	cp "$T/xdg/err" "$T/err"
}

check_signals() {
	for pair in INT:2 TERM:15 HUP:1; do
		# shellcheck disable=SC2046 # words
		signal_after "${pair%:*}" START run $(mode_options) --timeout 20 "$FUNCTIONS/double_fork.so" --event '"hang"'
		check_eq "$(cat "$T/end")" "signal ${pair#*:}"
		wait_for 20 gone || fail "[$MODE] the cell lives on after SIG${pair%:*} to fsbox"
	done
}
test_a_signal_to_fsbox_ends_the_cell_and_fsbox_dies_of_the_signal() {
	watch_world
	each_mode check_signals
	check_world
}

test_a_signal_during_init_ends_the_cell_too() {
	need_root
	watch_world
	"$FSBOX" run "$FUNCTIONS/init_sleep.so" >"$T/out" 2>"$T/err" &
	pid=$!
	wait_for 50 lives || fail "no cell"
	nap 0.3
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	check_eq "$status" 143
	check_world
}

test_a_signal_stops_the_events_that_are_left_and_keeps_what_was_answered() {
	need_root
	watch_world
	signal_after TERM "END" run --timeout 20 "$FUNCTIONS/stream.so" --event 2 --event '"hang"'
	check_eq "$(cat "$T/end")" "signal 15"
	check_eq "$(head -n 1 "$T/out")" "part 0"
	check_eq "$(grep -c '^REPORT' "$T/err")" 1
	check_world
}

test_a_hangup_that_was_ignored_at_the_start_stays_ignored() {
	need_root
	watch_world
	(
		trap '' HUP
		exec "$FSBOX" run --timeout 5 "$FUNCTIONS/remaining.so" --event 700 >"$T/out" 2>"$T/err"
	) &
	pid=$!
	wait_for 50 grep -q START "$T/err" || fail "no start"
	kill -HUP "$pid"
	status=0
	wait "$pid" || status=$?
	check_eq "$status" 0
	check_world
}

# ---- Whole trees ----

check_tree_timeout() {
	begin=$(now_ms)
	cell_status 124 --timeout 0.5 "$FUNCTIONS/double_fork.so" --event '"hang"'
	took=$(($(now_ms) - begin))
	check_between "$took" 490 "$(slow 1500)" "milliseconds until a tree with --timeout 0.5 was gone"
	# fsbox has returned: nothing runs, at once
	gone || fail "[$MODE] a daemon outlived the timeout"
}
test_a_timeout_ends_daemons_that_ignore_every_signal() {
	watch_world
	each_mode check_tree_timeout
	check_world
}

check_daemons_after_success() {
	cell_status 0 "$FUNCTIONS/double_fork.so"
	check_ask '.pids | length' 3
	gone || fail "[$MODE] a daemon outlived the cell"
}
test_daemons_do_not_outlive_a_cell_that_ended_well() {
	watch_world
	each_mode check_daemons_after_success
	check_world
}

test_timeouts_are_on_time() {
	need_root
	watch_world
	best=999999
	for try in 1 2 3 4 5; do
		cell_status 124 --timeout 0.2 "$FUNCTIONS/sleep_forever.so"
		late=$(sed -n 's/^REPORT RequestId: [^	]*	Duration: \([0-9]*\)\..*/\1/p' "$T/err")
		[ "$late" -ge 200 ] || fail "a timeout of 200 ms came after $late ms"
		[ "$late" -ge "$best" ] || best=$late
	done
	check_between "$best" 200 $((200 + $(slow 50))) "milliseconds of a call with --timeout 0.2"
	check_world
}

test_shutdown_has_half_a_second() {
	need_root
	watch_world
	cell_status 0 "$FUNCTIONS/shutdown_marker.so"
	check_contains "$T/err" "shutdown ran"
	begin=$(now_ms)
	cell_status 0 --env FSBOX_TEST_SHUTDOWN=hang "$FUNCTIONS/shutdown_marker.so"
	check_between "$(($(now_ms) - begin))" 450 "$(slow 2000)" "milliseconds with a shutdown that hangs"
	check_world
}

# ---- fsbox dies ----

check_killed_owner() { # how many times, at moments from the start on
	for i in $(seq 1 "$1"); do
		# shellcheck disable=SC2046 # words
		(EXEC="exec" && in_mode "$FSBOX" run $(mode_options) --timeout 20 "$FUNCTIONS/double_fork.so" --event '"hang"' \
			>/dev/null 2>&1) &
		pid=$!
		nap "0.0$(printf %03d $((i * 7 % 60)))"
		kill -KILL "$pid"
		wait "$pid" 2>/dev/null || :
	done
	wait_for 20 gone || fail "[$MODE] a cell outlived its owner"
	# what is left now are groups without processes; the next start removes them
	cell_status 0 "$FUNCTIONS/echo.so"
}
killed_40() {
	check_killed_owner 40
}
killed_12() {
	check_killed_owner 12
}
test_after_kill_9_of_fsbox_at_40_moments_nothing_runs_and_the_next_start_removes_the_rest() {
	watch_world
	each_mode killed_40 root
	check_world
}
test_the_same_holds_in_the_other_modes() {
	watch_world
	each_mode killed_12 user userns delegated
	check_world
}

test_the_record_of_a_dead_owner_is_there_until_the_next_start_and_not_after() {
	need_root
	watch_world
	"$FSBOX" run --timeout 20 "$FUNCTIONS/sleep_forever.so" >/dev/null 2>"$T/err" &
	pid=$!
	wait_for 50 grep -q START "$T/err" || fail "no start"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || :
	wait_for 20 gone || fail "the cell outlived its owner"
	# another's start may have been quicker
	world_lines | comm -13 "$T/world" - | grep -E '^(cgroup|record)' >"$T/left" || :
	note "left behind by kill -9: $(wc -l <"$T/left") lines"
	cell_status 0 "$FUNCTIONS/echo.so"
	check_world
}

# ---- Output that nobody reads ----

memory_of() { # PID: most resident memory in KiB
	sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null
}

test_a_flood_of_log_lines_does_not_grow_fsbox() {
	need_root
	watch_world
	for format in text json; do
		"$FSBOX" run --log-format "$format" --timeout 20 --mem 512 "$FUNCTIONS/log_flood.so" --event 48 >"$T/out" 2>"$T/fifo.$format" &
		pid=$!
		most=0
		while kill -0 "$pid" 2>/dev/null; do
			seen=$(memory_of "$pid")
			[ "${seen:-0}" -le "$most" ] || most=$seen
			nap 0.05
		done
		status=0
		wait "$pid" || status=$?
		check_eq "$status" 0
		check [ "$(wc -c <"$T/fifo.$format")" -gt 50000000 ]
		check_between "$most" 100 8000 "KiB of fsbox that passed 48 MB of log on ($format)"
		rm "$T/fifo.$format"
	done
	check_world
}

# The reader holds the pipe and never reads: the timeout holds all the same, and so does a signal.
stalled() { # fsbox run's arguments: with stderr into a full pipe, $pid
	mkfifo "$T/fifo"
	# shellcheck disable=SC2217 # it only holds the pipe
	command sleep 20 <"$T/fifo" &
	reader=$!
	"$FSBOX" run "$@" >"$T/out" 2>"$T/fifo" </dev/null &
	pid=$!
}
end_stall() {
	kill "$reader" 2>/dev/null || :
	wait "$reader" 2>/dev/null || :
	rm -f "$T/fifo"
}

test_a_log_reader_that_never_reads_does_not_keep_a_cell_from_its_timeout() {
	need_root
	watch_world
	stalled --timeout 1 --mem 256 "$FUNCTIONS/log_flood.so" --event 64
	wait_for 20 lives || fail "no cell"
	nap "$(slow 2)"
	lives && fail "the cell lives on after its timeout"
	size=$(memory_of "$pid")
	check_between "${size:-1000}" 100 8000 "KiB of fsbox with a reader that does not read"
	end_stall
	status=0
	wait "$pid" || status=$?
	check_eq "$status" 124
	check_world
}

ended() {
	! kill -0 "$pid" 2>/dev/null || [ "$(sed 's/.*) //;s/ .*//' "/proc/$pid/stat" 2>/dev/null)" = Z ]
}

test_a_log_reader_that_never_reads_does_not_keep_fsbox_from_ending_by_a_signal() {
	need_root
	watch_world
	stalled --timeout 0.5 --mem 256 "$FUNCTIONS/log_flood.so" --event 64
	nap "$(slow 2)"
	kill -TERM "$pid"
	late=0
	wait_for 20 ended || late=1
	end_stall
	wait "$pid" 2>/dev/null || :
	check_eq "$late" 0
	check_world
}

test_an_answer_that_nobody_reads_does_not_keep_fsbox_from_ending_by_a_signal() {
	need_root
	watch_world
	mkfifo "$T/fifo"
	# shellcheck disable=SC2217 # it only holds the pipe
	command sleep 20 <"$T/fifo" &
	reader=$!
	"$FSBOX" run --timeout 5 "$FUNCTIONS/big_answer.so" --event 1000000 >"$T/fifo" 2>"$T/err" </dev/null &
	pid=$!
	wait_for 50 grep -q REPORT "$T/err" || fail "no call"
	nap 0.3
	kill -TERM "$pid"
	late=0
	wait_for 20 ended || late=1
	end_stall
	wait "$pid" 2>/dev/null || :
	check_eq "$late" 0
	check_world
}

test_a_reader_that_went_away_loses_the_log_and_not_the_answer() {
	need_root
	watch_world
	status=0
	{ "$FSBOX" run --timeout 5 "$FUNCTIONS/log_flood.so" --event 4 2>&1 >"$T/out" || echo $? >"$T/status"; } | head -c 100 >/dev/null
	check [ ! -s "$T/status" ]
	check_ask .bytes 4194304
	check_world
}

run_tests "$@"
