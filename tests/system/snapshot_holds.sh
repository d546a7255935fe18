#!/bin/sh
# What a function may hold when its snapshot is taken: all that the look lets pass comes back working, twice; the rest is
# refused with a sentence, and the run falls back to a cold start. tests/functions/snap_hold.c holds it. time-limit: 600
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"

HOLD=$FUNCTIONS/snap_hold.so

may_hold() { # KIND…
	own_store
	for kind in "$@"; do
		note "$kind"
		cell_status 0 --snapshot --policy none --env "HOLD=$kind" "$HOLD"
		check_eq "$kind: $(cat "$T/out")" "$kind: ok"
		check_contains "$T/err" RESTORE_START # the first is a clone, too
		cell_status 0 --snapshot=require --policy none --env "HOLD=$kind" "$HOLD"
		check_eq "$kind: $(cat "$T/out")" "$kind: ok"
		restored
		snapshot_status 0 rm "$("$FSBOX" snapshot ls --json | jq -r '.snapshots[0].id')"
	done
	check_store
}

test_processes_and_memory_come_back() {
	noexec=
	[ ! -e /proc/sys/vm/memfd_noexec ] || noexec=memfd_noexec # Linux 6.3
	# shellcheck disable=SC2086 # a word or none
	may_hold nothing thread child session thread,child shared memfd memfd_mapped memfd_sealed $noexec mlock aio \
		device_mapped exec_tmp
}

test_pipes_and_sockets_inside_come_back() {
	may_hold pipe pipe_full pipe_child unix_pair unix_dgram unix_packet unix_half unix_unread unix_child unix_abstract \
		unix_path unix_unbound tcp_listen tcp_listen6 tcp_idle tcp_pair tcp_unread tcp_child tcp_mapped udp udp_idle \
		udp_pair
}

test_kernel_objects_come_back() {
	may_hold eventfd timerfd epoll epoll_closed signalfd pidfd_self pidfd_child itimer timer timer_cpu
}

test_files_come_back() {
	may_hold file_etc file_usr dir path tmp_file tmp_append tmp_dir tmp_mapped tmp_private fifo null urandom proc proc_root \
		proc_meminfo cwd_tmp cwd_deleted tmp_deleted deleted_mapped tmpfile
}

test_the_default_policy_holds_them_too() {
	own_store
	kinds=thread,child,pipe,tcp_listen,tcp_pair,eventfd,timerfd,itimer
	cell_status 0 --snapshot --env "HOLD=$kinds" "$HOLD"
	cell_status 0 --snapshot=require --env "HOLD=$kinds" "$HOLD"
	restored
	check_store
}

# "KIND=a part of the sentence"; options for all follow.
refuses() {
	own_store
	while read -r kind sentence; do
		note "$kind"
		snapshot create --policy none --env "HOLD=$kind" "$@" "$HOLD"
		[ "$status" != 0 ] || fail "$kind: a snapshot was made"
		! grep -q "cannot hold $kind:" "$T/err" || continue # not on this kernel
		check_contains "$T/err" "$sentence"
		check_contains "$T/err" 'in fsbox_'
	done
	snapshot_status 0 ls --json
	check_ask '.snapshots | length' 0
	check_store
}

test_what_cannot_be_held_is_named() {
	refuses <<-'END'
		stopped process 3 (native): is stopped
		zombie process 3 (native): has ended and nobody has waited for it
		orphan process 4 (native): was left behind by its parent
		traced process 3 (native): is traced
		pipe_half process 2 (native): descriptor 6 is a pipe whose other end is not open
		scm a unix socket in which descriptors wait
		unix_pending connections that wait to be accepted
		tcp_pending a TCP socket at 127.0.0.1:
		tcp_half a TCP connection from 127.0.0.1:
		udp_unread unread datagrams
		udp_outside a UDP socket connected to 127.0.0.1:9
		netlink a socket (NETLINK)
		memfd_secret outside of the cell's mounts
		exec_deleted process 3 (prog): executes a file without a name
		ns descriptor 5 is net:[
		inotify an inotify instance
		fanotify a fanotify group
		io_uring an io_uring
		userfaultfd a userfaultfd
		perf a perf event
		bpf a BPF map
		pidfd_init a pidfd of a process that will not be in the snapshot
		flock a lock or lease
		posix_lock a lock or lease
		ofd_lock a lock or lease
		lease a lock or lease
		shm System V shared memory
		shm_unattached a System V object (shared memory)
		mqueue outside of the cell's mounts
		filter a seccomp filter of its own
		userns process 3 (native): has a namespace of its own
	END
}

outside() { # KIND: a cell on the host's network holds it; $outside is its fsbox
	(exec "$FSBOX" run --net host --timeout 60 --env "HOLD=$1" --env "HOLD_PORT=$port" "$HOLD" --event '"hold"' \
		>"$T/outside.out" 2>"$T/outside.err") &
	outside=$!
	wait_for 50 grep -q holding "$T/outside.err" || {
		note "$(cat "$T/outside.err")"
		fail "no cell holds $1"
	}
}

test_what_leads_outside_is_refused_under_net_host() {
	own_store
	port=$((20000 + $$ % 10000))
	for pair in 'tcp_listen tcp_outside' 'unix_abstract unix_outside'; do
		outside "${pair% *}"
		refuses --net host --env "HOLD_PORT=$port" --env HOLD_NAME=held <<-END
			${pair#* } process 2 (native): descriptor 5 is a
		END
		kill -TERM "$outside"
		wait "$outside" 2>/dev/null || :
	done
	refuses --net host <<-'END'
		tcp_listen a socket of the host's network
		udp_idle a socket of the host's network
		unix_abstract an abstract name in the host's network
	END
}

test_a_run_falls_back_and_says_why() {
	own_store
	cell_status 0 --snapshot --policy none --env HOLD=inotify_empty "$HOLD"
	check_eq "$(cat "$T/out")" ok
	check_contains "$T/err" 'an inotify instance'
	check_lacks "$T/err" RESTORE_START
	cell_status 125 --snapshot=require --policy none --env HOLD=inotify_empty "$HOLD"
	check_contains "$T/err" 'close it in fsbox_before_snapshot()'
	check_store
}

run_tests "$@"
