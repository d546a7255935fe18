#!/bin/sh
# fsbox-oci checkpoint and restore: what goes on, what is there again, and what is left when they fail or are killed.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
# shellcheck source=tests/lib/oci_criu.sh
. "$(dirname "$0")/../lib/oci_criu.sh"
# time-limit: 600

# Mounts with their flags, rights, filter, limits, groups: all but numbers that are another's every time.
portrait() { # ID
	portrait_pid=$(pid_of "$1")
	cut -d ' ' -f 4- "/proc/$portrait_pid/mountinfo" | sed 's/ shared:[0-9]*//; s/ master:[0-9]*//' | sort
	grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups|Umask|Threads)' "/proc/$portrait_pid/status"
	cat "/proc/$portrait_pid/cgroup" "/proc/$portrait_pid/oom_score_adj" "/proc/$portrait_pid/uid_map" "/proc/$portrait_pid/limits"
	for portrait_ns in mnt pid net ipc uts user cgroup; do
		[ "$(readlink "/proc/$portrait_pid/ns/$portrait_ns")" != "$(readlink "/proc/self/ns/$portrait_ns")" ] || echo "$portrait_ns is ours"
	done
	nsenter -t "$portrait_pid" -u hostname
	nsenter -t "$portrait_pid" -C cat /proc/self/cgroup
}

same_after() { # ID BUNDLE: a checkpoint and a restore
	portrait "$1" >"$T/before"
	dump_ok "$1"
	check_eq "$(oci_status "$1")" stopped
	bring_back_ok --bundle "$T/$2" "$1"
	check_eq "$(oci_status "$1")" running
	portrait "$1" >"$T/after"
	diff "$T/before" "$T/after" >"$T/diff" || fail "not as before: $(cat "$T/diff")"
}

LIMITS='.linux.resources.memory = {"limit": 50331648} | .linux.resources.pids = {"limit": 33} | .linux.resources.cpu = {"shares": 512}'
RICH="$LIMITS | .process.oomScoreAdj = 77 | .process.noNewPrivileges = true | .root.readonly = true | .hostname = \"named\"
	| .linux.seccomp = {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"chroot\"], \"action\": \"SCMP_ACT_ERRNO\"}]}
	| .mounts += [$TMPFS, {\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}]"

test_a_counter_goes_on() {
	need_criu
	id=$(oci_id a)
	bundle b "$RICH | $(script "$COUNT")"
	start "$id" b
	same_after "$id" b
	before=$(count_of "$id")
	counts_on "$id" "$before"
	check_eq "$(cat "$T/img/descriptors.json")" '["/dev/null","/dev/null","/dev/null"]'
	group=/fsbox-oci/$id
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		check_eq "$(cat "/sys/fs/cgroup$group/memory.max")" 50331648
		check_eq "$(cat "/sys/fs/cgroup$group/pids.max")" 33
	else
		check_eq "$(cat "/sys/fs/cgroup/memory$group/memory.limit_in_bytes")" 50331648
		check_eq "$(cat "/sys/fs/cgroup/pids$group/pids.max")" 33
		check_eq "$(cat "/sys/fs/cgroup/cpu$group/cpu.shares")" 512
		check_contains "/sys/fs/cgroup/devices$group/devices.list" "c 1:3 rwm"
	fi
	oci_ok exec "$id" hostname
	check_eq "$(cat "$T/out")" named
	oci_ok exec "$id" sh -c 'kill -0 1 && touch /tmp/x && ! chroot / true'
	# And once more, from what was restored.
	same_after "$id" b
	oci_ok delete --force "$id"
	check_nothing_left
}

test_memory_is_what_it_was() {
	need_criu
	id=$(oci_id m)
	bundle b ".mounts += [$TMPFS] | $(script 'x=$(head -c 400000 /dev/urandom | od -An -tx1 | tr -d " \n"); echo "$x" | cksum >/tmp/a; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo "$x" | cksum >/tmp/b; sleep 100')"
	for name in od cksum; do ln -sf busybox "$T/rootfs/bin/$name"; done
	start "$id" b
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -s "/proc/$(pid_of "$id")/root/tmp/a" ] || break
		command sleep 0.2
	done
	dump_ok "$id"
	bring_back_ok --bundle "$T/b" --pid-file "$T/pid" "$id"
	check_eq "$(cat "$T/pid")" "$(pid_of "$id")"
	oci_ok exec "$id" touch /tmp/go
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -s "/proc/$(pid_of "$id")/root/tmp/b" ] || break
		command sleep 0.2
	done
	check_eq "$(cat "/proc/$(pid_of "$id")/root/tmp/b")" "$(cat "/proc/$(pid_of "$id")/root/tmp/a")"
	oci_ok delete --force "$id"
	check_nothing_left
}

groups_of() { find /sys/fs/cgroup -type d -path "*/fsbox-oci/$1"; }

# As an init system or an engine in the container makes them.
# The list of groups comes with the images, from whoever has made them.
test_a_list_of_groups_speaks_of_groups_below_alone() {
	need_criu
	id=$(oci_id l)
	bundle b ".mounts += [$TMPFS] | .linux.resources.pids = {\"limit\": 33} | $(script "$COUNT")"
	start "$id" b
	counts_on "$id" 1
	dump_ok "$id"
	oci_ok delete "$id"
	for tree in "" pids; do
		for path in /. /.. /a/.. /a/../.. // /a/ a /a//b "/$(head -c 300 /dev/zero | tr '\0' n)"; do
			printf '{"groups":[{"tree":"%s","path":"%s","uid":1000,"files":{"pids.max":"max"},"processes":[]}]}' "$tree" "$path" \
				>"$T/img/fsbox-oci-groups.json"
			bring_back --bundle "$T/b" "$id"
			one_line_with "is not as it was written"
			oci_ok delete --force "$id"
		done
	done
	# A parent that had gone when the list was written is made, and on v1 everything stays root's.
	printf '{"groups":[{"tree":"","path":"/a/b","uid":0,"files":{},"processes":[]},{"tree":"pids","path":"/a","uid":1000,"files":{},"processes":[]}]}' \
		>"$T/img/fsbox-oci-groups.json"
	bring_back_ok --bundle "$T/b" "$id"
	groups_of "$id" >"$T/groups"
	while read -r group; do
		case $group in
		*/pids/*) check_eq "$(stat -c %u "$group/a" "$group/a/cgroup.procs" | sort -u) $(cat "$group/pids.max")" "0 33" ;;
		*/unified/*) check [ -d "$group/a/b" ] ;;
		esac
	done <"$T/groups"
	oci_ok delete --force "$id"
	check_nothing_left
}

test_groups_below_the_containers() {
	need_criu
	id=$(oci_id g)
	bundle b ".mounts += [$TMPFS] | $(script "sleep 1000 & $COUNT")"
	start "$id" b
	counts_on "$id" 1
	asleep=$(pgrep -P "$(pid_of "$id")" -f 'sleep 1000')
	groups_of "$id" >"$T/groups"
	while read -r group; do
		mkdir "$group/below" "$group/below/deep"
		case $group in
		*/cpuset/*) for below in below below/deep; do
			cat "$group/cpuset.cpus" >"$group/$below/cpuset.cpus"
			cat "$group/cpuset.mems" >"$group/$below/cpuset.mems"
		done ;;
		*/pids/*) echo 77 >"$group/below/pids.max" ;;
		esac
		pid_of "$id" >"$group/below/cgroup.procs"
		echo "$asleep" >"$group/below/deep/cgroup.procs"
		while read -r left; do echo "$left" >"$group/below/cgroup.procs" || :; done <"$group/cgroup.procs" 2>/dev/null
		case $group in
		*/unified/* | /sys/fs/cgroup/fsbox-oci/*) for domain in memory hugetlb pids; do
			! grep -qw "$domain" "$group/cgroup.controllers" || echo "+$domain" >"$group/cgroup.subtree_control"
		done ;;
		esac
		[ ! -e "$group/below/pids.max" ] || echo 77 >"$group/below/pids.max"
	done <"$T/groups"
	check_eq "$(grep -c /below "/proc/$(pid_of "$id")/cgroup")" "$(wc -l <"$T/groups")"
	sort "/proc/$(pid_of "$id")/cgroup" "/proc/$asleep/cgroup" >"$T/before"
	control() { while read -r group; do cat "$group/cgroup.subtree_control" "$group/below/pids.max" 2>/dev/null || :; done <"$T/groups"; }
	control >"$T/control"
	# In the images, or taken for nothing that is kept.
	dump_ok --leave-running --manage-cgroups-mode ignore "$id"
	[ ! -e "$T/img/fsbox-oci-groups.json" ] || fail "groups, though to be ignored"
	dump_ok "$id"
	oci_ok delete "$id"
	check_eq "$(groups_of "$id")" ""
	bring_back_ok --bundle "$T/b" --manage-cgroups-mode soft "$id"
	asleep=$(pgrep -P "$(pid_of "$id")" -f 'sleep 1000')
	sort "/proc/$(pid_of "$id")/cgroup" "/proc/$asleep/cgroup" >"$T/after"
	check_eq "$(cat "$T/after")" "$(cat "$T/before")"
	check_eq "$(control)" "$(cat "$T/control")"
	counts_on "$id" "$(count_of "$id")"
	oci_ok delete --force "$id"
	check_eq "$(groups_of "$id")" ""
	bring_back_ok --bundle "$T/b" --manage-cgroups-mode ignore "$id"
	check_eq "$(grep -c /below "/proc/$(pid_of "$id")/cgroup" || :)" 0
	oci_ok delete --force "$id"
	for harm in '{}' '{"groups":[{}]}' '{"groups":[{"tree":"","path":"/../x","uid":0,"files":{},"processes":[]}]}' \
		'{"groups":[{"tree":"","path":"no","uid":0,"files":{},"processes":[1]}]}'; do
		echo "$harm" >"$T/img/fsbox-oci-groups.json"
		bring_back --bundle "$T/b" "$id"
		check_eq "$harm $status" "$harm 1"
		check_eq "$(wc -l <"$T/err")" 1
		check_nothing_left
	done
}

test_a_user_namespace() {
	need_criu
	id=$(oci_id u)
	bundle b "$RICH | $(script "$COUNT") | .process.user = {\"uid\": 1000, \"gid\": 1000} | .linux.namespaces += [{\"type\": \"user\"}]
		| .linux.uidMappings = [{\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}] | .linux.gidMappings = .linux.uidMappings"
	jq '(.mounts[] | select(.destination == "/tmp")).options += ["mode=1777"]' "$T/b/config.json" >"$T/b/new" && mv "$T/b/new" "$T/b/config.json"
	chmod 711 "$TAP_DIR" "$T"
	mkdir -m 711 "$T/state"
	start "$id" b
	counts_on "$id" 1
	same_after "$id" b
	check_eq "$(stat -c %a "$T/img")" 700
	counts_on "$id" "$(count_of "$id")"
	oci_ok exec "$id" cat /proc/self/uid_map
	check_contains "$T/out" 100000
	oci_ok delete --force "$id"
	check_nothing_left
}

test_leave_running_and_pre_dumps() {
	need_criu
	id=$(oci_id l)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	start "$id" b
	oci_ok checkpoint --leave-running --image-path "$T/one" "$id"
	check_eq "$(oci_status "$id")" running
	counts_on "$id" "$(count_of "$id")"
	oci_ok pause "$id"
	oci_ok checkpoint --leave-running --image-path "$T/two" "$id"
	check_eq "$(oci_status "$id")" paused
	oci_ok resume "$id"
	oci checkpoint --pre-dump --image-path "$T/pre" "$id"
	if [ "$status" != 0 ]; then # without soft-dirty bits in the kernel there is none
		one_line_with criu
		check_eq "$(oci_status "$id")" running
	else
		check_eq "$(oci_status "$id")" running
		oci checkpoint --parent-path "$T/pre" --image-path "$T/img" "$id"
		one_line_with relative
		oci checkpoint --parent-path ../nowhere --image-path "$T/img" "$id"
		one_line_with "No such file"
		dump_ok --parent-path ../pre "$id"
		bring_back_ok --bundle "$T/b" "$id"
		counts_on "$id" "$(count_of "$id")"
	fi
	oci_ok delete --force "$id"
	# Frozen, and not left running.
	start "$id" b
	oci_ok pause "$id"
	dump_ok "$id"
	check_eq "$(oci_status "$id")" stopped
	bring_back_ok --bundle "$T/b" "$id"
	check_eq "$(oci_status "$id")" running
	counts_on "$id" "$(count_of "$id")"
	oci_ok delete --force "$id"
	check_nothing_left
}

test_the_argv_of_callers() {
	need_criu
	id=$(oci_id s)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	start "$id" b
	oci_ok --log "$T/log.json" --log-format json checkpoint --image-path "$T/img" --work-path "$T/b" --tcp-established --ext-unix-sk \
		--shell-job --file-locks --manage-cgroups-mode soft --empty-ns network "$id"
	oci_ok restore --image-path "$T/img" --work-path "$T/b" --tcp-established --ext-unix-sk --shell-job --file-locks \
		--manage-cgroups-mode soft --empty-ns network --detach --pid-file "$T/pid" -no-subreaper --bundle "$T/b" "$id"
	check_eq "$(cat "$T/pid")" "$(pid_of "$id")"
	oci_ok delete -force "$id"
	start "$id" b
	oci_ok checkpoint "$id" -image-path="$T/img" -work-path="$T/work"
	oci_ok restore "$id" --bundle "$T/b" --pid-file "$T/pid" --detach --image-path "$T/img" --work-path "$T/work"
	oci restore "$id" --bundle "$T/b" --detach --image-path "$T/img"
	one_line_with "already exists"
	check_eq "$(oci_status "$id")" running
	oci_ok delete --force "$id"
	check_nothing_left
}

no_criu_of() { # nobody of the engine's is left
	for no_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32; do
		pgrep -f "$FSBOX_BUILD/criu/lib.*criu" >"$T/criu.pids" || return 0
		command sleep 0.5
	done
	fail "CRIU is left: $(cat "$T/criu.pids")"
}

# A page server of CRIU's own needs a pipe of 4 MiB (cmd_checkpoint.c).
may_make_pipe() { python3 -c 'import fcntl, os; fcntl.fcntl(os.pipe()[1], 1031, 3354624)' 2>/dev/null; }

lazy_server() { # OPTION...: criu lazy-pages, beside the restore's log; until it listens
	mkdir -p "$T/work"
	criu_in "$T/bin"
	timeout 120 "$T/bin/criu" lazy-pages --no-default-config -D "$T/img" -W "$T/work" -o "$T/lazy.log" "$@" </dev/null >"$T/lazy.out" 2>&1 &
	server=$!
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -S "$T/work/lazy-pages.socket" ] || return 0
		command sleep 0.1
	done
	fail "criu lazy-pages does not listen: $(cat "$T/lazy.out" "$T/lazy.log")"
}

test_memory_as_it_is_used() {
	need_criu
	id=$(oci_id z)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	start "$id" b
	counts_on "$id" 1
	dump_ok "$id"
	# Nobody serves, or one who says nothing: an end, and nothing left.
	bring_back --lazy-pages --bundle "$T/b" "$id"
	one_line_with lazy-pages.socket
	python3 -c 'import os, socket, sys, time
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX)
s.bind("lazy-pages.socket")
s.listen(1)
c = s.accept()[0]
got = c.recvmsg(100, 1000)
time.sleep(100)' "$T/work" &
	mute=$!
	trap 'kill "$mute" 2>/dev/null; oci_end_all' EXIT
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ ! -S "$T/work/lazy-pages.socket" ] || break
		command sleep 0.1
	done
	run timeout 100 "$OCI" --root "$T/state" restore -d --lazy-pages --image-path "$T/img" --work-path "$T/work" --bundle "$T/b" "$id"
	one_line_with "no word from CRIU for 30 s"
	kill "$mute"
	wait "$mute" || :
	trap oci_end_all EXIT
	no_criu_of
	check_nothing_left
	# From the images, by CRIU's own server.
	rm "$T/work/lazy-pages.socket"
	lazy_server
	bring_back_ok --lazy-pages --bundle "$T/b" "$id"
	counts_on "$id" "$(count_of "$id")"
	wait "$server"
	counts_on "$id" "$(count_of "$id")"
	oci_ok delete --force "$id"
	check_nothing_left
}

test_memory_by_the_network() {
	need_criu
	id=$(oci_id w)
	port=$((20000 + $$ % 10000))
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	start "$id" b
	counts_on "$id" 1
	dump --lazy-pages "$id"
	one_line_with "takes --page-server"
	if ! may_make_pipe; then # refused at once, and nothing has happened
		dump --lazy-pages --page-server "127.0.0.1:$port" "$id"
		one_line_with "a pipe of 4 MiB"
		counts_on "$id" "$(count_of "$id")"
		oci_ok delete --force "$id"
		check_nothing_left
		return
	fi
	# Whoever waits and is killed lets the container go on.
	"$OCI" --root "$T/state" checkpoint --lazy-pages --page-server "127.0.0.1:$port" --image-path "$T/img" --work-path "$T/work" "$id" \
		</dev/null >"$T/dump.out" 2>&1 &
	waits=$!
	serves() { for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		! grep -q 'Starting page server' "$T/work/dump.log" 2>/dev/null || return 0
		command sleep 0.2
	done; }
	serves
	kill -KILL "$waits"
	wait "$waits" || :
	no_criu_of
	counts_on "$id" "$(count_of "$id")"
	rm -rf "$T/img" "$T/work"
	mkfifo "$T/ready"
	"$OCI" --root "$T/state" checkpoint --lazy-pages --page-server "127.0.0.1:$port" --status-fd 5 --image-path "$T/img" --work-path "$T/dump" "$id" \
		5<>"$T/ready" </dev/null >"$T/dump.out" 2>&1 &
	dumps=$!
	timeout 30 head -c 1 "$T/ready" | od -An -tx1 >"$T/status"
	check_eq "$(tr -d ' ' <"$T/status")" 00
	lazy_server --page-server --address 127.0.0.1 --port "$port"
	bring_back_ok --lazy-pages --bundle "$T/b" "${id}2"
	wait "$server"
	wait "$dumps"
	check_eq "$(oci_status "$id")" stopped
	counts_on "${id}2" "$(count_of "${id}2")"
	oci_ok delete "$id"
	oci_ok delete --force "${id}2"
	check_nothing_left
}

test_hooks() {
	need_criu
	id=$(oci_id h)
	hook() { printf '{"path":"/bin/sh","args":["sh","-c","echo %s $(jq -r .status) >>%s"]}' "$1" "$T/hooks"; }
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT") | .hooks = {\"prestart\":[$(hook prestart)],\"createRuntime\":[$(hook createRuntime)],
		\"poststart\":[$(hook poststart)],\"poststop\":[$(hook poststop)]}"
	sed -i 's,"path":"/bin/sh",&,' "$T/b/config.json"
	jq --arg path "$PATH" '.hooks |= map_values(map(.env = ["PATH=" + $path]))' "$T/b/config.json" >"$T/b/new" && mv "$T/b/new" "$T/b/config.json"
	start "$id" b
	dump_ok "$id"
	oci_ok delete "$id"
	rm "$T/hooks"
	bring_back_ok --bundle "$T/b" "$id"
	check_eq "$(tr '\n' ' ' <"$T/hooks")" "prestart creating createRuntime creating poststart running "
	dump_ok "$id"
	oci_ok delete "$id"
	check_eq "$(tail -n 1 "$T/hooks")" "poststop stopped"
	# One that fails: nothing runs.
	jq '.hooks = {"createRuntime": [{"path": "/bin/false"}]}' "$T/b/config.json" >"$T/b/new" && mv "$T/b/new" "$T/b/config.json"
	bring_back --bundle "$T/b" "$id"
	one_line_with /bin/false
	check_nothing_left
}

test_mounts_from_outside() {
	need_criu
	id=$(oci_id e)
	echo one >"$T/file"
	echo two >"$T/other"
	mkdir -p "$T/dir/sub" "$T/within"
	touch "$T/within/inner"
	mount --bind "$T/within" "$T/dir/sub"
	trap 'umount "$T/dir/sub"' EXIT
	binds() {
		printf '[%s, {"destination":"/etc/f","type":"bind","source":"%s","options":["bind","ro","nosuid"]},
			{"destination":"/mnt/d","type":"bind","source":"%s","options":["rbind","rw","noexec"]},
			{"destination":"/tmp/deep/x","type":"bind","source":"%s","options":["bind","ro"]}]' "$TMPFS" "$1" "$T/dir" "$T/file"
	}
	bundle b ".mounts += $(binds "$T/file") | $(script "$COUNT")"
	start "$id" b
	same_after "$id" b
	oci_ok exec "$id" cat /etc/f /tmp/deep/x
	check_eq "$(tr '\n' ' ' <"$T/out")" "one one "
	oci_ok exec "$id" test -e /mnt/d/sub/inner
	oci exec "$id" touch /etc/f
	check_eq "$status" 1
	# Other files, and a root without the mount points.
	dump_ok "$id"
	rootfs "$T/fresh"
	bundle c ".mounts += $(binds "$T/other") | $(script "$COUNT")"
	rm "$T/c/rootfs"
	ln -s ../fresh "$T/c/rootfs"
	bring_back_ok --bundle "$T/c" "$id"
	oci_ok exec "$id" cat /etc/f
	check_eq "$(cat "$T/out")" two
	oci_ok exec "$id" test -e /mnt/d/sub/inner
	# One that is missing now.
	dump_ok "$id"
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	bring_back --bundle "$T/b" "$id"
	one_line_with criu
	check_nothing_left
	umount "$T/dir/sub"
	trap - EXIT
}

test_a_host_whose_mounts_are_shared() {
	need_criu
	id=$(oci_id p)
	echo text >"$T/file"
	bundle b ".mounts += [$TMPFS, {\"destination\":\"/etc/f\",\"type\":\"bind\",\"source\":\"$T/file\",\"options\":[\"rbind\",\"ro\"]}] | $(script "$COUNT")"
	cat >"$T/sh" <<-EOF
		mount --make-rshared /
		set -e
		$OCI --root $T/state run -d --bundle $T/b $id </dev/null
		$OCI --root $T/state checkpoint --image-path $T/img $id
		$OCI --root $T/state restore -d --bundle $T/b --image-path $T/img $id </dev/null
		$OCI --root $T/state exec $id cat /etc/f
		! $OCI --root $T/state exec $id touch /etc/f
	EOF
	run unshare -m sh "$T/sh"
	check_eq "$status" 0
	check_contains "$T/out" text
	oci_ok delete --force "$id"
	check_nothing_left
}

test_namespaces_by_path() {
	need_criu
	command -v ip >/dev/null || skip "no ip (Debian package iproute2)"
	id=$(oci_id n)
	net=fsboxck$$
	ip netns add "$net"
	ip netns add "${net}b"
	trap 'ip netns del "$net"; ip netns del "${net}b"' EXIT
	given() { printf '.linux.namespaces = [.linux.namespaces[] | select(.type != "network" and .type != "uts")] + [{"type":"network","path":"/run/netns/%s"}]' "$1"; }
	bundle b ".hostname = \"\" | .mounts += [$TMPFS] | $(script "$COUNT") | $(given "$net")"
	start "$id" b
	dump_ok "$id"
	bring_back_ok --bundle "$T/b" "$id"
	check_eq "$(stat -L -c %i "/proc/$(pid_of "$id")/ns/net")" "$(stat -L -c %i "/run/netns/$net")"
	dump_ok "$id"
	# Another one, as engines give it.
	bundle b ".hostname = \"\" | .mounts += [$TMPFS] | $(script "$COUNT") | $(given "${net}b")"
	bring_back_ok --bundle "$T/b" "$id"
	check_eq "$(stat -L -c %i "/proc/$(pid_of "$id")/ns/net")" "$(stat -L -c %i "/run/netns/${net}b")"
	dump_ok "$id"
	# A new one is in no image.
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	bring_back --bundle "$T/b" "$id"
	one_line_with "namespace"
	check_nothing_left
	ip netns del "$net"
	ip netns del "${net}b"
	trap - EXIT
}

test_tcp_on_loopback() {
	need_criu
	command -v ip >/dev/null || skip "no ip (Debian package iproute2)"
	busybox nc --help 2>&1 | grep -q -- -l || skip "busybox has no nc"
	id=$(oci_id t)
	bundle b ".mounts += [$TMPFS] | $(script 'sleep 1000 | nc -l -p 7000 >/tmp/got & sleep 1; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done | nc 127.0.0.1 7000')"
	ln -sf busybox "$T/rootfs/bin/nc"
	start "$id" b
	nsenter -t "$(pid_of "$id")" -n ip link set lo up
	got() { { echo 0; cat "/proc/$(pid_of "$id")/root/tmp/got" 2>/dev/null; } | wc -l; }
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ "$(got)" -le 3 ] || break
		command sleep 0.2
	done
	[ "$(got)" -gt 3 ] || fail "nothing comes through"
	dump "$id"
	one_line_with tcp-established
	check_eq "$(oci_status "$id")" running
	before=$(got)
	dump_ok --tcp-established "$id"
	bring_back_ok --bundle "$T/b" --tcp-established "$id"
	for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ "$(got)" -le "$((before + 20))" ] || break
		command sleep 0.2
	done
	[ "$(got)" -gt "$((before + 20))" ] || fail "the connection stands still at $(got)"
	oci_ok delete --force "$id"
	check_nothing_left
}

# Nothing may reach the connection while nobody is there: its peer would be told that it is gone.
test_tcp_to_a_peer_outside() {
	need_criu
	command -v ip >/dev/null || skip "no ip (Debian package iproute2)"
	id=$(oci_id o)
	net=fsboxck$$
	ip netns add "$net"
	ip netns add "${net}b"
	trap 'kill "$server" 2>/dev/null; ip netns del "$net"; ip netns del "${net}b"' EXIT
	ip -n "$net" link add va type veth peer name vb netns "${net}b" || skip_host "no veth"
	for end in "$net va 1" "${net}b vb 2"; do
		# shellcheck disable=SC2086 # words
		set -- $end
		ip -n "$1" addr add "10.77.0.$3/24" dev "$2"
		ip -n "$1" link set "$2" up
	done
	ip netns exec "${net}b" sh -c 'sleep 1000 | busybox nc -l -p 7001' >"$T/got" 2>/dev/null &
	server=$!
	bundle b ".mounts += [$TMPFS] | $(script 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done | nc 10.77.0.2 7001')
		| .linux.namespaces = [.linux.namespaces[] | select(.type != \"network\")] + [{\"type\": \"network\", \"path\": \"/run/netns/$net\"}]"
	ln -sf busybox "$T/rootfs/bin/nc"
	command sleep 0.5
	start "$id" b
	until_got() { # LINES
		for until_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			[ "$(wc -l <"$T/got")" -le "$1" ] || return 0
			command sleep 0.25
		done
		fail "$(wc -l <"$T/got") lines came through, and no more"
	}
	until_got 3
	dump_ok --tcp-established "$id"
	command sleep 2 # the peer tries again
	stood=$(wc -l <"$T/got")
	bring_back_ok --bundle "$T/b" --tcp-established "$id"
	until_got "$((stood + 20))"
	check_eq "$(sort -n "$T/got" | uniq -d)" ""
	oci_ok delete --force "$id"
	check_nothing_left
	pkill -P "$server" 2>/dev/null || :
	kill "$server" 2>/dev/null || :
	ip netns del "$net"
	ip netns del "${net}b"
	trap - EXIT
}

test_descriptors_from_outside() {
	need_criu
	id=$(oci_id d)
	bundle b "$(script 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done')"
	# A pipe.
	("$OCI" --root "$T/state" run -d --bundle "$T/b" "$id" </dev/null 2>/dev/null || echo failed) | cat >"$T/got" &
	wait_status "$id" running
	command sleep 0.5
	dump_ok "$id"
	wait
	"$OCI" --root "$T/state" restore -d --bundle "$T/b" --image-path "$T/img" "$id" </dev/null 2>/dev/null | head -n 5 >"$T/got2"
	last=$(tail -n 1 "$T/got")
	first=$(head -n 1 "$T/got2")
	# What stood unread in the old pipe at the end is nobody's.
	if [ "$first" -le "$last" ] || [ "$first" -gt "$((last + 2))" ]; then
		fail "$first after $last"
	fi
	oci_ok delete --force "$id"
	# A file of the host's, that the container could not open; CRIU wants one of the same size.
	"$OCI" --root "$T/state" run -d --bundle "$T/b" "$id" </dev/null >"$T/got" 2>&1 || fail "$(cat "$T/got")"
	command sleep 0.5
	dump_ok "$id"
	wc -l <"$T/got" >"$T/lines"
	"$OCI" --root "$T/state" restore -d --bundle "$T/b" --image-path "$T/img" "$id" </dev/null >>"$T/got" 2>&1 || fail "$(cat "$T/got")"
	command sleep 0.5
	seq "$(wc -l <"$T/got")" >"$T/got2"
	check_eq "$(tail -n 1 "$T/got")" "$(tail -n 1 "$T/got2")"
	[ "$(wc -l <"$T/got")" -gt "$(cat "$T/lines")" ] || fail "it writes no more"
	oci_ok delete --force "$id"
	check_nothing_left
}

test_a_terminal() {
	need_criu
	command -v python3 >/dev/null || skip "no python3"
	id=$(oci_id c)
	bundle b '.process.terminal = true | .process.args = ["sh", "-c", "while read l; do echo got $l; done"]'
	cat >"$T/console.py" <<-'EOF'
		import array, os, select, socket, sys, time
		s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
		s.bind(sys.argv[1])
		s.listen(1)
		c, _ = s.accept()
		_, anc, _, _ = c.recvmsg(64, socket.CMSG_SPACE(4))
		fd = array.array("i", anc[0][2])[0]
		out, end, said = b"", time.time() + 20, False
		word = sys.argv[2].encode()
		while time.time() < end and b"got " + word not in out:
		    if not said and os.path.exists(sys.argv[3]):
		        os.write(fd, word + b"\n")
		        said = True
		    if select.select([fd], [], [], 0.1)[0]:
		        out += os.read(fd, 4096)
		print(out)
		while os.path.exists(sys.argv[3]):
		    time.sleep(0.05)
	EOF
	talk() { # WORD COMMAND...
		word=$1
		shift
		python3 "$T/console.py" "$T/$word.sock" "$word" "$T/$word.go" >"$T/$word.out" 2>&1 &
		for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32; do
			[ ! -S "$T/$word.sock" ] || break
			command sleep 0.1
		done
		oci_ok "$@" --console-socket "$T/$word.sock" --bundle "$T/b" "$id"
		touch "$T/$word.go"
		for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			[ ! -s "$T/$word.out" ] || break
			command sleep 0.2
		done
	}
	talk one run -d
	dump_ok "$id"
	rm "$T/one.go"
	wait
	bring_back --bundle "$T/b" "$id"
	one_line_with "console socket"
	talk two restore -d --image-path "$T/img" --work-path "$T/work"
	check_contains "$T/two.out" "got two"
	rm "$T/two.go"
	oci_ok delete --force "$id"
	wait
	check_nothing_left
}

test_in_the_foreground() {
	need_criu
	id=$(oci_id f)
	bundle b ".mounts += [$TMPFS] | $(script 'while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 7')"
	start "$id" b
	dump_ok "$id"
	"$OCI" --root "$T/state" restore --bundle "$T/b" --image-path "$T/img" "$id" </dev/null >"$T/out" 2>"$T/err" &
	back=$!
	wait_status "$id" running
	oci_ok exec "$id" touch /tmp/end
	status=0
	wait "$back" || status=$?
	check_eq "$status" 7
	check_nothing_left
}

test_what_cannot_be() {
	need_criu
	id=$(oci_id x)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	dump "$id"
	one_line_with "does not exist"
	oci_ok create --bundle "$T/b" "$id" </dev/null
	dump "$id"
	one_line_with "created state"
	oci_ok start "$id"
	dump --manage-cgroups-mode some "$id"
	one_line_with "manage-cgroups-mode"
	dump --page-server nowhere "$id"
	one_line_with "ADDRESS:PORT"
	dump --empty-ns pid "$id"
	one_line_with "'pid'"
	dump --status-fd 77 "$id"
	one_line_with "status-fd"
	dump --image-path "$T/rootfs/bin/busybox" "$id"
	one_line_with busybox
	dump --image-path /proc/none "$id"
	one_line_with /proc/none
	check_eq "$(oci_status "$id")" running
	counts_on "$id" "$(count_of "$id")"
	jq '.linux.netDevices = {"eth9": {}}' "$T/state/$id/config.json" >"$T/asks" && cp "$T/asks" "$T/state/$id/config.json"
	dump "$id"
	one_line_with "network devices"
	oci_ok kill "$id" KILL
	wait_status "$id" stopped
	dump "$id"
	one_line_with "container not running"
	bring_back --bundle "$T/b" --lsm-profile some "$(oci_id y)"
	one_line_with "lsm-profile"
	oci restore -d --bundle "$T/b" --image-path "$T/nowhere" "$(oci_id y)"
	one_line_with nowhere
	oci_ok delete "$id"
	check_nothing_left
	oci_ok features
	check_eq "$(jq -r '.annotations["io.fsbox.checkpoint.enabled"]' "$T/out")" true
}

test_broken_images() {
	need_criu
	id=$(oci_id k)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	start "$id" b
	dump_ok "$id"
	oci_ok delete "$id"
	mv "$T/img" "$T/good"
	for harm in 'rm $T/img/core-1.img' 'rm $T/img/inventory.img' ': >$T/img/pstree.img' 'truncate -s 4096 $T/img/pages-1.img' \
		'head -c 300 /dev/urandom >$T/img/files.img' 'echo "{" >$T/img/descriptors.json' 'echo "{}" >$T/img/descriptors.json' \
		'rm $T/img/*' 'rm $T/img/mountpoints-*' 'head -c 100 /dev/zero >$T/img/core-1.img'; do
		rm -rf "$T/img"
		cp -a "$T/good" "$T/img"
		eval "$harm"
		bring_back --bundle "$T/b" "$id"
		[ "$status" = 1 ] || fail "$harm: $status"
		[ "$(wc -l <"$T/err")" = 1 ] || fail "$harm: $(cat "$T/err")"
		check_nothing_left
	done
	rm -rf "$T/img"
	mv "$T/good" "$T/img"
	bring_back_ok --bundle "$T/b" "$id"
	counts_on "$id" 1
	oci_ok delete --force "$id"
	check_nothing_left
}

# After each it is one of two things, and goes on from there.
test_killed_in_a_checkpoint() {
	need_criu
	id=$(oci_id i)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	start "$id" b
	for moment in 0.00 0.02 0.05 0.08 0.12 0.2; do
		for more in --leave-running ""; do
			rm -rf "$T/img"
			# shellcheck disable=SC2086 # a word or none
			"$OCI" --root "$T/state" checkpoint --image-path "$T/img" --work-path "$T/work" $more "$id" >"$T/out" 2>"$T/err" &
			victim=$!
			command sleep "$moment"
			kill -9 "$victim" 2>/dev/null || :
			wait "$victim" 2>/dev/null || :
			# CRIU finishes; what holds the lock then is its keeper.
			oci pause "$id"
			oci resume "$id"
			case $(oci_status "$id") in
			running) counts_on "$id" "$(count_of "$id")" ;;
			stopped)
				[ -z "$more" ] || fail "it was to be left running"
				bring_back_ok --bundle "$T/b" "$id"
				counts_on "$id" 1
				;;
			*) fail "it is $(oci_status "$id")" ;;
			esac
		done
	done
	oci_ok delete --force "$id"
	check_nothing_left
}

test_killed_in_a_restore() {
	need_criu
	id=$(oci_id j)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	start "$id" b
	dump_ok "$id"
	oci_ok delete "$id"
	mounts=$(wc -l </proc/self/mountinfo)
	for moment in 0.00 0.03 0.06 0.1 0.15 0.2 0.3; do
		"$OCI" --root "$T/state" restore -d --bundle "$T/b" --image-path "$T/img" --work-path "$T/work" "$id" </dev/null >"$T/out" 2>"$T/err" &
		victim=$!
		command sleep "$moment"
		kill -9 "$victim" 2>/dev/null || :
		wait "$victim" 2>/dev/null || :
		no_criu_of
		oci_ok delete --force "$id"
		check_nothing_left
	done
	# And CRIU itself.
	for moment in 0.02 0.06 0.1 0.2; do
		"$OCI" --root "$T/state" restore -d --bundle "$T/b" --image-path "$T/img" --work-path "$T/work" "$id" </dev/null >"$T/out" 2>"$T/err" &
		victim=$!
		command sleep "$moment"
		for criu in $(pgrep -P "$victim" || :); do kill -9 "$criu" 2>/dev/null || :; done
		status=0
		wait "$victim" || status=$?
		[ "$status" = 0 ] || check_eq "$(wc -l <"$T/err")" 1
		oci_ok delete --force "$id"
		no_criu_of
		check_nothing_left
	done
	check_eq "$(wc -l </proc/self/mountinfo)" "$mounts"
}

run_tests "$@"
