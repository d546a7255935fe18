#!/bin/sh
# Functions that try to gain something from being snapshotted, each named after what it tries. time-limit: 600
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"

# It is refused, or it is in the image, or it begins in the clone: but it never runs beside a runtime that CRIU holds.
test_no_process_runs_on_while_others_are_dumped() {
	own_store
	for delay in 0 200 500 1000 2000 3000 5000 8000 12000 16000 20000 30000; do
		cell --snapshot --mem 256 --env "DELAY=$delay" "$FUNCTIONS/snap_stray.so"
		check_eq "$status" 0
		check_matches "$T/out" '^[0-9]+ 0$'
		check_matches "$T/err" 'RESTORE_START|left behind|no snapshot is used'
	done
	check_store
}

# Threads that were there before, and look from their first moment on.
test_no_thread_of_a_clone_sees_a_cell_that_is_not_finished() {
	own_store
	make_function spy 'static volatile int spoils, looks;
		static void *look(void *a) { for (;;) { looks++; if (access("/run/criu", F_OK) == 0) spoils |= 1; int f = open("/proc/self/comm", O_WRONLY);
			if (f >= 0) { spoils |= 2; close(f); } f = open("/run/x", O_CREAT | O_WRONLY, 0600); if (f >= 0) { spoils |= 4; close(f); }
			if ((f = open("/proc/1/mem", O_RDONLY)) >= 0) { spoils |= 8; close(f); } } return a; }' '
		pthread_t t; for (int i = 0; i < 4; i++) pthread_create(&t, NULL, look, NULL);' '
		char b[64]; usleep(20000); sprintf(b, "%d %d", spoils, looks > 100); return answer(call, b);' -lpthread
	for _ in 1 2 3 4 5; do
		cell_status 0 --snapshot=require --mem 512 --timeout 20 "$T/spy.so"
		check_eq "$(cat "$T/out")" '0 1'
	done
	check_store
}

test_every_thread_of_a_clone_is_confined() {
	own_store
	make_function many 'static void *idle(void *a) { for (;;) pause(); return a; }' '
		pthread_t t; for (int i = 0; i < 50; i++) pthread_create(&t, NULL, idle, NULL); if (fork() == 0) for (;;) pause();' '
		char b[4096] = "", cmd[] = "cat /proc/[0-9]*/task/[0-9]*/status | grep -E \"^(Uid|CapEff|NoNewPrivs|Seccomp):\" | sort | uniq -c | tr -s \" \\t\" \" \"";
		FILE *p = popen(cmd, "r"); fread(b, 1, sizeof b - 1, p); pclose(p); return answer(call, b);' -lpthread
	cell_status 0 --snapshot=require --mem 512 --timeout 20 "$T/many.so"
	cell_status 0 --snapshot=require --mem 512 --timeout 20 "$T/many.so"
	check_eq "$(grep -cE ' (Uid: 993 993 993 993|CapEff: 0000000000000000|NoNewPrivs: 1|Seccomp: 2)$' "$T/out")" 4
	check_eq "$(wc -l <"$T/out")" 4
	check_store
}

test_a_link_of_the_functions_leads_criu_nowhere() {
	own_store
	mkdir "$T/prize"
	make_function link 'static int fd;' 'mkdir("/tmp/a", 0755); fd = open("/tmp/a/f", O_RDWR | O_CREAT, 0600); link("/tmp/a/f", "/tmp/g");
		unlink("/tmp/a/f"); rmdir("/tmp/a"); symlink(getenv("TO"), "/tmp/a");' 'return answer(call, "x");'
	snapshot_status 1 create --env "TO=$T/prize" "$T/link.so"
	check_contains "$T/err" 'whose name is gone while it has another'
	check_eq "$(ls -A "$T/prize")" ''
	check_store
}

test_limits_of_the_image_are_not_taken() {
	own_store
	make_function limits '' '' 'struct rlimit { unsigned long cur, max; } r; char b[64]; extern int getrlimit(int, void *);
		getrlimit(7, &r); sprintf(b, "%lu %lu", r.cur, r.max); return answer(call, b);'
	cell_status 0 "$T/limits.so"
	cold=$(cat "$T/out")
	cell_status 0 --snapshot=require "$T/limits.so"
	check_eq "$(cat "$T/out")" "$cold"
	check_store
}
# Pages that processes share since a fork are in an image once for each of them, and so on the host's disk.
test_an_image_is_no_larger_than_the_memory() {
	own_store
	make_function fork_many 'static char *p; static size_t n;' '
		n = 40 << 20; p = malloc(n); for (size_t i = 0; i < n; i += 4096) memcpy(p + i, &i, sizeof i);
		for (int i = 0; i < atoi(getenv("N")); i++) if (fork() == 0) for (;;) pause();' 'return answer(call, "x");'
	snapshot_status 1 create --mem 64 --env N=4 "$T/fork_many.so"
	check_contains "$T/err" 'would hold 2'
	check_contains "$T/err" '--mem is 64'
	snapshot_status 1 create --mem 2000 --env N=100 "$T/fork_many.so"
	check_contains "$T/err" 'has 101 processes and 101 threads: too many for a snapshot'
	check_eq "$(find "$XDG_STATE_HOME" -name '*.img' | wc -l)" 0
	cell_status 0 --snapshot=require --mem 256 --env N=4 "$T/fork_many.so"
	check_store
}

test_without_room_for_descriptors_none_is_used() {
	own_store
	run prlimit --nofile=200 "$FSBOX" run --snapshot=require "$FUNCTIONS/echo.so"
	check_eq "$status" 125
	check_contains "$T/err" 'at most 200 open files are allowed here, snapshots need 512'
	run prlimit --nofile=200 "$FSBOX" run --snapshot "$FUNCTIONS/echo.so" --event 1
	check_eq "$status" 0
	check_eq "$(cat "$T/out")" 1
	run prlimit --nofile=512 "$FSBOX" run --snapshot=require "$FUNCTIONS/echo.so" --event 1
	check_eq "$status" 0
	check_store
}
run_tests "$@"
