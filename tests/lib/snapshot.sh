# What the tests of snapshots share, beside tap.sh and cell.sh: a store of their own, and the words for it.
# shellcheck shell=sh

# An empty store for each test; what is in it goes with $T.
own_store() {
	need_root
	[ -d "$FSBOX_BUILD/criu" ] || [ -d "$FSBOX_BUILD/../criu" ] || skip "there is no CRIU: sh tools/criu.sh"
	XDG_STATE_HOME=$T/state
	export XDG_STATE_HOME
	store=$T/state/fsbox/snapshots
	watch_world
}

snapshot() { # fsbox snapshot's arguments
	run "$FSBOX" snapshot "$@"
}

snapshot_status() { # STATUS fsbox snapshot's arguments
	snapshot_wanted=$1
	shift
	snapshot "$@"
	[ "$status" = "$snapshot_wanted" ] || {
		show
		fail "exit status $status, wanted $snapshot_wanted: fsbox snapshot $*"
	}
}

# Nothing but what the store has after an ordinary end: no drafts, no halves.
check_store() { # who was ended early enough has made none
	mkdir -p "$store"
	find "$store" -mindepth 1 -maxdepth 1 ! -name index ! -name last ! -regex '.*/[0-9a-f]*' >"$T/odd"
	[ ! -s "$T/odd" ] || {
		note "$(cat "$T/odd")"
		fail "the store holds what it should not"
	}
	check_world
}

restored() { # the last run was served by a restore
	check_contains "$T/err" RESTORE_START
	check_matches "$T/err" 'REPORT .*Restore Duration: [0-9.]+ ms	Billed Restore Duration: [0-9]+ ms	'
	check_lacks "$T/err" 'Init Duration'
}

# A function of a few lines: the body of its init and of its handler, and what stands before them.
make_function() { # NAME GLOBALS INIT HANDLER [CC's OPTIONS…]
	make_name=$1 make_globals=$2 make_init=$3 make_handler=$4
	shift 4
	cat >"$T/$make_name.c" <<-END
		#define _GNU_SOURCE
		#include <fsbox.h>
		#include <errno.h>
		#include <fcntl.h>
		#include <pthread.h>
		#include <signal.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <string.h>
		#include <sys/mman.h>
		#include <sys/socket.h>
		#include <sys/stat.h>
		#include <sys/wait.h>
		#include <time.h>
		#include <unistd.h>
		static int answer(fsbox_call *call, const char *text) { return fsbox_respond(call, text, strlen(text)); }
		$make_globals
		int fsbox_init(void) { $make_init return 0; }
		int fsbox_handler(fsbox_call *call) { $make_handler }
	END
	cc -w -shared -fPIC -I"$FSBOX_SRC/sandbox/runtime" -o "$T/$make_name.so" "$T/$make_name.c" "$@" ||
		fail "the function does not compile"
	chmod 755 "$TAP_DIR" "$T"
}
