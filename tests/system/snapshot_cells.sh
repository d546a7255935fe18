#!/bin/sh
# A restored cell is what a cold one is, and no two are alike: isolation, limits, time, memory, /tmp, secrets, hooks,
# randomness, processes and threads. time-limit: 600
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"

from_snapshot() { # STATUS fsbox run's arguments: the second run of it, by a restore
	cell_status "$1" --snapshot=require "$@"
}

# What may differ between two cells of one function, and what a restored one has beside: everything else is the same.
comparable() {
	jq -S 'del(.hostname, .fds, .fdFlags, .namespaces, .initCmdline, .rss)
		| walk(if type == "object" then del(.fl, .VmPeak, .VmSize, .VmHWM, .VmRSS, .RssAnon, .RssFile, .VmPTE, .FDSize,
			.voluntary_ctxt_switches, .nonvoluntary_ctxt_switches, .VmData, .VmStk) else . end)
		| (.. | strings) |= gsub("1879[0-9]{6}"; "ID") | del(.mountinfo, .mounts, .status.VmPeak)' "$1" |
		grep -vE 'LOG_STREAM_NAME|INITIALIZATION_TYPE|MEMORY_SIZE|/run|"ns|:\[[0-9]+\]'
}

test_all_that_a_function_can_see_of_its_cell_is_as_in_a_cold_one() {
	own_store
	cell_status 0 "$FUNCTIONS/inspect.so"
	cp "$T/out" "$T/cold"
	cell_status 0 --snapshot=require "$FUNCTIONS/inspect.so"
	restored_line=$(grep -c RESTORE_START "$T/err")
	check_eq "$restored_line" 1
	cp "$T/out" "$T/clone"
	comparable "$T/cold" >"$T/cold.txt"
	comparable "$T/clone" >"$T/clone.txt"
	diff "$T/cold.txt" "$T/clone.txt" >"$T/diff" || {
		note "$(cat "$T/diff")"
		fail "a restored cell shows something else"
	}
	# the mounts of both, but for /run and numbers
	for f in cold clone; do
		jq -r '.. | strings | select(test("^[0-9]+ [0-9]+ [0-9]+:[0-9]+ /"))' "$T/$f" | awk '{ print $5, $6 }' |
			grep -v '^/run ' | sort >"$T/$f.mounts"
	done
	check test -s "$T/cold.mounts"
	check cmp "$T/cold.mounts" "$T/clone.mounts"
	jq -r '.. | strings | select(test("^[0-9]+ [0-9]+ [0-9]+:[0-9]+ /"))' "$T/clone" | awk '$5 ~ "^/run"' >"$T/run"
	check_eq "$(wc -l <"$T/run")" 1
	check_matches "$T/run" ' /run ro,nosuid,nodev,noexec,'
	check_store
}

test_the_calls_memory_counts_and_not_the_snapshots() {
	own_store
	make_function m '' '' 'char b[64]; sprintf(b, "%u %s", fsbox_memory_mb(), getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
		return answer(call, b);'
	snapshot_status 0 create --mem 512 "$T/m.so"
	for mb in 64 512 1024; do
		cell_status 0 --snapshot=require --mem "$mb" "$T/m.so"
		check_eq "$(cat "$T/out")" "$mb $mb"
		check_contains "$T/err" "Memory Size: $mb MB"
	done
	snapshot_status 0 create --mem 512 "$FUNCTIONS/memory_bomb.so"
	cell --snapshot=require --mem 64 --timeout 60 "$FUNCTIONS/memory_bomb.so"
	check_eq "$status" 137
	check_contains "$T/out" Runtime.OutOfMemory
	check_contains "$T/out" '64 MB'
	check_store
}

# What CRIU used is not the function's: its peak begins when CRIU is gone.
test_max_memory_used_is_the_functions() {
	own_store
	cell_status 0 --snapshot=require "$FUNCTIONS/echo.so"
	used=$(sed -n 's/.*Max Memory Used: \([0-9]*\) MB.*/\1/p' "$T/err")
	check_between "$used" 1 5 "Max Memory Used"
	check_store
}

test_an_image_larger_than_the_calls_memory_is_not_restored() {
	own_store
	make_function big 'static char *p;' 'p = malloc(96 << 20); memset(p, 1, 96 << 20);' 'return answer(call, "x");'
	snapshot_status 0 create --mem 256 "$T/big.so"
	cell --snapshot --mem 64 "$T/big.so"
	check_contains "$T/err" 'holds 9'
	check_eq "$status" 137
	check_store
}

test_the_share_of_cpu_is_the_calls() {
	own_store
	snapshot_status 0 create --mem 1769 "$FUNCTIONS/busy.so"
	for _ in 1 2 3 4 5; do
		cell_status 0 --snapshot=require --mem 512 --timeout 30 "$FUNCTIONS/busy.so" --event 1000
		share=$(ask '.cpu_ns / .wall_ns')
		awk -v s="$share" 'BEGIN { exit !(s < 0.32) }' || fail "a share of $share instead of 0.289"
		awk -v s="$share" 'BEGIN { exit !(s > 0.25) }' && return 0
	done
	[ "${FSBOX_SLOWER:-1}" != 1 ] || fail "a share of $share instead of 0.289"
}

test_timeouts_crashes_and_the_next_event() {
	own_store
	cell --snapshot=require --timeout 1 "$FUNCTIONS/sleep_forever.so" --event 1 --event 2
	check_eq "$status" 124
	check_eq "$(grep -c 'RESTORE_START' "$T/err")" 2
	check_eq "$(grep -c 'Task timed out after 1.00 seconds' "$T/err")" 2
	cell --snapshot=require "$FUNCTIONS/crash_segv.so"
	check_eq "$status" 139
	check_contains "$T/out" 'signal: segmentation fault'
	cell --snapshot=require "$FUNCTIONS/exit_status.so" --event 3
	check_eq "$status" 1
	check_contains "$T/out" 'exit status'
	cell --snapshot=require "$FUNCTIONS/fork_bomb.so" --pids 32 --timeout 2
	check_ne "$status" 125
	check_store
}

test_strict_begins_after_the_restore() {
	own_store
	cell --snapshot=require --policy strict "$FUNCTIONS/after_strict.so"
	cp "$T/out" "$T/clone"
	clone=$status
	cell --policy strict "$FUNCTIONS/after_strict.so"
	check_eq "$clone" "$status"
	check_store
}

test_tmp_is_a_copy_of_what_init_left() {
	own_store
	make_function t 'static int fd; static int r(const char *p, char *b) { int f = open(p, O_RDONLY); int n = f < 0 ? 0 : read(f, b, 60); b[n] = 0; close(f); return n; }' '
		mkdir("/tmp/dir", 0750); symlink("dir", "/tmp/link");
		FILE *f = fopen("/tmp/dir/file", "w"); fputs("left", f); fclose(f); link("/tmp/dir/file", "/tmp/hard");
		fd = open("/tmp/open", O_RDWR | O_CREAT, 0600); write(fd, "abc", 3);' '
		char a[64], b[64], c[64] = "", text[400]; struct stat s, h; r("/tmp/link/file", a); r("/tmp/hard", b);
		pread(fd, c, 60, 0); write(fd, "d", 1); stat("/tmp/dir", &s); stat("/tmp/hard", &h);
		sprintf(text, "%s %s %s %o %d %d", a, b, c, s.st_mode & 07777, s.st_uid, (int)h.st_nlink); return answer(call, text);'
	for _ in 1 2 3; do
		cell_status 0 --snapshot=require "$T/t.so"
		check_eq "$(cat "$T/out")" 'left left abc 750 993 2'
	done
	check_store
}

test_secrets_are_there_after_a_restore_and_never_in_the_image() {
	own_store
	make_function s 'static char at_init[64] = "none"; static int r(char *b) { int f = open("/run/secrets/token", O_RDONLY), n;
			if (f < 0) return 0; n = read(f, b, 60); b[n] = 0; close(f); return n; }' 'r(at_init);' '
		char now[64] = "none", text[200]; struct stat s = {0}; r(now); stat("/run/secrets/token", &s);
		sprintf(text, "%s %s %o %d %d", at_init, now, s.st_mode & 07777, s.st_uid, access("/run/secrets", F_OK));
		return answer(call, text);'
	printf very-secret-1 >"$T/token"
	cell_status 0 --secret "token=@$T/token" "$T/s.so"
	check_eq "$(cat "$T/out")" 'very-secret-1 very-secret-1 400 993 0'
	cell_status 0 --snapshot=require --secret "token=@$T/token" "$T/s.so"
	check_eq "$(cat "$T/out")" 'none very-secret-1 400 993 0'
	printf very-secret-2 >"$T/token"
	cell_status 0 --snapshot=require --secret "token=@$T/token" "$T/s.so"
	check_eq "$(cat "$T/out")" 'none very-secret-2 400 993 0'
	check_lacks "$T/err" INIT_REPORT
	! grep -r very-secret "$store" || fail "a secret is in the store"
	cell --snapshot=require --secret "token=@$T/nothing" "$T/s.so"
	check_eq "$status" 2
	check_contains "$T/err" "$T/nothing"
	check_store
}

test_threads_children_and_what_they_hold_come_back() {
	own_store
	make_function many 'static volatile int beats, child_fd; static int p[2]; static pid_t child;
			static void *beat(void *a) { for (;;) { beats++; usleep(1000); } return a; }' '
		pthread_t t[3]; for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, beat, NULL);
		pipe(p); child = fork(); if (child == 0) { char c; close(p[1]); while (read(p[0], &c, 1) == 1) ; _exit(7); } close(p[0]);' '
		int before = beats, status = 0; usleep(20000); if (beats == before) return fsbox_fail(call, "T.Still", "the threads stand still");
		close(p[1]); if (waitpid(child, &status, 0) != child) return fsbox_fail(call, "T.Child", strerror(errno));
		char b[64]; sprintf(b, "%d", WEXITSTATUS(status)); return answer(call, b);' -lpthread
	for _ in 1 2; do
		cell_status 0 --snapshot=require "$T/many.so"
		check_eq "$(cat "$T/out")" 7
	done
	check_store
}

test_the_clock_never_goes_back_and_timers_go_on() {
	own_store
	make_function c 'static struct timespec then; static volatile int ticks; static void tick(int s) { ticks++; }' '
		struct itimerspec it = {{0, 5000000}, {0, 5000000}}; timer_t t; struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
		signal(SIGUSR1, tick); timer_create(CLOCK_MONOTONIC, &ev, &t); timer_settime(t, 0, &it, NULL);
		clock_gettime(CLOCK_MONOTONIC, &then);' '
		struct timespec now; clock_gettime(CLOCK_MONOTONIC, &now); ticks = 0; for (int i = 0; i < 50 && !ticks; i++) usleep(2000);
		char b[64]; sprintf(b, "%d %d", now.tv_sec > then.tv_sec || (now.tv_sec == then.tv_sec && now.tv_nsec >= then.tv_nsec), ticks > 0);
		return answer(call, b);'
	for _ in 1 2 3; do
		cell_status 0 --snapshot=require "$T/c.so"
		check_eq "$(cat "$T/out")" '1 1'
	done
	check_store
}

test_many_at_once_are_all_different() {
	own_store
	make_function u '' 'srand(1); srand48(1);' '
		char b[256], g[32] = "", h[64] = ""; int f = open("/run/fsbox/generation", O_RDONLY); g[read(f, g, 31) - 1] = 0; gethostname(h, 63);
		sprintf(b, "%s %s %d %ld %f", h, g, rand(), random(), drand48()); return answer(call, b);'
	cell_status 0 --snapshot=require "$T/u.so"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		"$FSBOX" run --snapshot=require --timeout 30 "$T/u.so" >"$T/o.$i" 2>"$T/e.$i" &
	done
	wait
	cat "$T"/o.* | tr ' ' '\n' >/dev/null
	for i in 1 2 3 4 5 6 7 8 9 10; do
		check_matches "$T/o.$i" '^[0-9a-f]{12} [0-9a-f]{16} [0-9]+ [0-9]+ 0\.[0-9]+$'
		check_lacks "$T/e.$i" INIT_REPORT
		tr ' ' '\n' <"$T/o.$i"
		echo
	done | grep . >"$T/values"
	check_eq "$(wc -l <"$T/values")" 50
	check_eq "$(sort -u "$T/values" | wc -l)" 50
	check_store
}

# CRIU is executed in the cell's root before the cell is confined: nothing of that root may be loaded into it or run by it.
test_a_root_of_somebodys_gets_no_hold_of_criu() {
	own_store
	command -v ldd >/dev/null 2>&1 || skip "ldd is missing"
	mkdir -p "$T/root/etc/criu" "$T/root/usr/lib/criu" "$T/root/tmp"
	for lib in $(ldd "$FSBOX_BUILD/runtime/native" | grep -o '/[^ ]*'); do
		mkdir -p "$T/root${lib%/*}"
		cp -L "$lib" "$T/root$lib"
	done
	printf '%s\n' '#include <unistd.h>' '__attribute__((constructor)) static void c(void) { (void)!write(2, "PRELOADED\n", 10); }' >"$T/evil.c"
	cc -shared -fPIC -o "$T/root/etc/evil.so" "$T/evil.c"
	cp "$T/root/etc/evil.so" "$T/root/usr/lib/criu/evil.so"
	echo /etc/evil.so >"$T/root/etc/ld.so.preload"
	printf '%s\n' 'action-script /etc/evil.sh' 'libdir /usr/lib/criu' >"$T/root/etc/criu/default.conf"
	printf '%s\n' '#!/bin/sh' 'echo EVIL >&2' >"$T/root/etc/evil.sh"
	chmod -R a+rX "$T/root"
	chmod 755 "$TAP_DIR" "$T" "$T/root/etc/evil.sh"
	for _ in 1 2; do
		cell_status 0 --snapshot=require --rootfs "$T/root" "$FUNCTIONS/counter.so"
		check_lacks "$T/err" PRELOADED
		check_lacks "$T/err" EVIL
		check_contains "$T/err" RESTORE_START
	done
	check_store
}

# ---- Hooks ----

test_hooks_run_in_order_and_their_failures_have_lambdas_names() {
	own_store
	hooks='static char log_text[512];
		static int before(void *a) { strcat(log_text, "b"); strcat(log_text, a); return 0; }
		static int after(const struct fsbox_restore *r, void *a) { strcat(log_text, "a"); strcat(log_text, a); return strlen(r->clone_id) != 12; }
		int fsbox_before_snapshot(void) { strcat(log_text, "B"); return BEFORE; }
		int fsbox_after_restore(const struct fsbox_restore *r) { strcat(log_text, "A"); AFTER; }'
	init='fsbox_on_before_snapshot(before, "1"); fsbox_on_before_snapshot(before, "2");
		fsbox_on_after_restore(after, "1"); fsbox_on_after_restore(after, "2");'
	make_function good "$hooks" "$init" 'return answer(call, log_text);' -DBEFORE=0 '-DAFTER=return 0'
	cell_status 0 --snapshot=require "$T/good.so"
	check_eq "$(cat "$T/out")" b2b1BAa1a2
	cell_status 0 "$T/good.so"
	check_eq "$(cat "$T/out")" ''

	make_function before "$hooks" "$init" 'return answer(call, log_text);' -DBEFORE=3 '-DAFTER=return 0'
	snapshot_status 1 create "$T/before.so"
	check_contains "$T/err" Runtime.BeforeSnapshotError
	cell_status 0 --snapshot "$T/before.so"
	check_contains "$T/err" Runtime.BeforeSnapshotError
	check_contains "$T/err" 'Init Duration'

	# fails from the third restore on: the two trials of the publisher are the first ones
	printf 0 >"$T/token"
	fails='char c = 0; int f = open("/run/secrets/token", O_RDONLY); if (f >= 0) { read(f, \&c, 1); close(f); } return c == 49 ? 5 : 0'
	make_function after "$(echo "$hooks" | sed "s|AFTER;|$fails;|")" "$init" 'return answer(call, log_text);' -DBEFORE=0
	cell_status 0 --snapshot=require --secret "token=@$T/token" "$T/after.so"
	printf 1 >"$T/token"
	cell --snapshot=require --secret "token=@$T/token" "$T/after.so"
	check_eq "$status" 1
	check_ask .errorType Runtime.AfterRestoreError
	check_matches "$T/err" 'RESTORE_REPORT Restore Duration: [0-9.]+ ms	Status: error	Error Type: Runtime.AfterRestoreError'

	slow='char c = 0; int f = open("/run/secrets/token", O_RDONLY); if (f >= 0) { read(f, \&c, 1); close(f); } if (c == 49) sleep(30); return 0'
	make_function slow "$(echo "$hooks" | sed "s|AFTER;|$slow;|")" "$init" 'return answer(call, log_text);' -DBEFORE=0
	printf 0 >"$T/token"
	cell_status 0 --snapshot=require --secret "token=@$T/token" "$T/slow.so"
	printf 1 >"$T/token"
	cell --snapshot=require --secret "token=@$T/token" "$T/slow.so"
	check_eq "$status" 124
	check_ask .errorType Runtime.RestoreHookUserTimeout
	check_matches "$T/err" 'RESTORE_REPORT Restore Duration: 1[0-9]{4}\.[0-9]+ ms	Status: timeout'
	check_store
}

test_a_failing_init_fails_the_publish_with_its_own_words() {
	own_store
	snapshot_status 1 create "$FUNCTIONS/init_fail.so"
	check_contains "$T/err" Runtime.InitError
	snapshot_status 1 create "$FUNCTIONS/init_crash.so"
	check_contains "$T/err" Runtime.ExitError
	snapshot_status 1 create "$FUNCTIONS/no_handler.so"
	check_contains "$T/err" Runtime.HandlerNotFound
	check_store
}

# A library with OpenSSL's names that cannot be reseeded: both clones would draw the same.
test_clones_that_would_draw_the_same_are_not_published() {
	own_store
	make_function same 'int RAND_bytes(unsigned char *b, int n) { memset(b, 7, n); return 1; } int RAND_poll(void) { return 1; }
		void RAND_seed(const void *b, int n) { }' '' 'return answer(call, "x");'
	snapshot_status 1 create "$T/same.so"
	check_contains "$T/err" "drew the same value from 'RAND_bytes'"
	check_store
}
# Their content is in the image. CRIU gives each a name again, opens it and takes the name away, and may leave none behind.
test_deleted_files_that_are_open_come_back_without_their_names() {
	own_store
	make_function files 'static int fd[7]; static char *map;
		static int make(const char *path, const char *text) {
			int f = open(path, O_RDWR | O_CREAT | O_EXCL, 0640); write(f, text, strlen(text)); return f; }' '
		fd[0] = make("/tmp/gone", "plain"); unlink("/tmp/gone");
		fd[1] = open("/tmp", O_TMPFILE | O_RDWR, 0600); write(fd[1], "unnamed", 7);
		mkdir("/tmp/d", 0700); fd[2] = make("/tmp/d/x", "deep"); unlink("/tmp/d/x"); rmdir("/tmp/d");
		fd[3] = make("/tmp/again", "old"); unlink("/tmp/again"); fd[4] = make("/tmp/again", "new");
		fd[6] = make("/tmp/map", "mapped"); ftruncate(fd[6], 4096); unlink("/tmp/map");
		map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd[6], 0);
		fd[5] = fileno(tmpfile()); write(fd[5], "stdio", 5);' '
		char text[4096]; int n = 0;
		for (int i = 0; i < 7; i++) {
			char b[16] = ""; struct stat st;
			fstat(fd[i], &st); pread(fd[i], b, 15, 0);
			n += sprintf(text + n, "%s links=%d at=%d mode=%o uid=%d\n", b, (int)st.st_nlink,
				(int)lseek(fd[i], 0, SEEK_CUR), st.st_mode, st.st_uid);
		}
		pwrite(fd[6], "MAP", 3, 0);
		n += sprintf(text + n, "%.6s\n", map);
		FILE *ls = popen("ls -A /tmp", "r");
		n += fread(text + n, 1, 1000, ls); pclose(ls); text[n] = 0;
		return answer(call, text);'
	cell_status 0 "$T/files.so"
	cp "$T/out" "$T/cold"
	check_contains "$T/cold" 'unnamed links=0 at=7'
	for _ in 1 2; do
		cell_status 0 --snapshot=require "$T/files.so"
		check_contains "$T/err" RESTORE_START
		check cmp "$T/cold" "$T/out"
	done
	check_store
}
run_tests "$@"
