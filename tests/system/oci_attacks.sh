#!/bin/sh
# fsbox-oci against hostile containers, images, state directories and configurations. Each test is an attack that worked once,
# here or on another runtime, and fails now.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

need_cc() {
	need_oci
	command -v "${CC:-cc}" >/dev/null || skip "no compiler"
}

# A user namespace of 65,536 ids whose root has all that it may have there.
USER_NS='.linux.namespaces += [{"type": "user"}] | .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
	| .linux.gidMappings = .linux.uidMappings | .process.capabilities[] += ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]'

test_who_executes_in_a_user_namespace_shows_it_nothing_of_the_host() {
	need_cc
	bundle b "$USER_NS | .process.args = [\"sleep\", \"600\"]"
	"${CC:-cc}" -O2 -static -o "$T/rootfs/bin/intruder" "$FSBOX_SRC/tests/lib/oci_attack/intruder.c"
	chmod 755 "$T" "$TAP_DIR"
	echo secret >"$T/marker"
	c=$(oci_id user)
	oci_ok run --detach --bundle "$T/b" "$c"
	for how in proc ptrace; do # ptrace(2) slows the attempts by /proc down
		"$OCI" --root "$T/state" exec -d "$c" intruder "$T/marker" "$how" >>"$T/log" 2>&1 </dev/null
		i=0
		while [ "$i" -lt 100 ]; do
			oci_ok exec "$c" true
			i=$((i + 1))
		done
		oci_ok exec "$c" sh -c 'for p in $(ps | sed -n "s/^ *\([0-9]*\) .*[i]ntruder.*/\1/p"); do kill $p; done; true'
	done
	check_eq "$(grep -c ready "$T/log")" 2
	check_lacks "$T/log" INTRUDED
	oci_ok delete --force "$c"
	check_nothing_left
}

test_a_sysctl_of_a_namespace_leads_to_no_other() {
	need_oci
	was=$(cat /proc/sys/kernel/printk_delay)
	for key in net/../kernel/printk_delay net.//.kernel.printk_delay net//kernel net. user/./max_user_namespaces; do
		bundle b ".linux.sysctl = {\"$key\": \"7\"}"
		oci run --bundle "$T/b" "$(oci_id sys)"
		now=$(cat /proc/sys/kernel/printk_delay)
		echo "$was" >/proc/sys/kernel/printk_delay
		check_eq "$status $now" "1 $was"
		check_contains "$T/err" "sysctl"
	done
	in_container 'cat /proc/sys/net/ipv4/ip_forward' '.linux.sysctl = {"net/ipv4/ip_forward": "1"}'
	check_eq "$(cat "$T/out")" 1
	# A namespace that is joined by name is not another one for that.
	bundle b '(.linux.namespaces[] | select(.type == "network")).path = "/proc/self/ns/net"
		| .linux.sysctl = {"net.ipv4.ip_default_ttl": "77"}'
	oci run --bundle "$T/b" "$(oci_id sys)"
	check_eq "$status" 1
	check_contains "$T/err" "not allowed in the host's namespace"
	check_nothing_left
}

test_no_user_is_given_what_was_not_his() {
	need_oci
	bundle b '.process.args = ["sleep", "600"] | .process.capabilities[] += ["CAP_MKNOD"]'
	mknod "$T/null" c 1 3 # stands for the host's
	echo text >"$T/file"
	c=$(oci_id stdio)
	oci_ok run --detach --bundle "$T/b" "$c"
	# Without a null device of its own the container would have the host's taken for something else.
	oci_ok exec "$c" sh -c 'rm /dev/null; echo >/dev/null'
	if (: <"$T/null") 2>/dev/null; then # not where nodev is
		"$OCI" --root "$T/state" exec --user 1000 "$c" true <"$T/null"
		check_eq "$(stat -c %u "$T/null")" 0
	fi
	"$OCI" --root "$T/state" exec --user 1000 "$c" true <"$T/file"
	check_eq "$(stat -c %u "$T/file")" 0
	# What it may write to it may open again.
	"$OCI" --root "$T/state" exec --user 1000 "$c" sh -c 'echo more >/dev/stdout' >"$T/written"
	check_eq "$(cat "$T/written")" more
	oci_ok delete --force "$c"
	check_nothing_left
}

# Beside a host whose mounts are shared, as systemd makes them.
shared_host() { # NAME: runs the bundle $T/NAME, prints which mounts the host then has and had not, and the other way round
	unshare --mount --propagation private sh -c 'mount --make-rshared / && cut -d " " -f 5 /proc/self/mountinfo | sort >"$1/before" &&
		"$0" --root "$1/state" run --bundle "$1/$2" "$3" </dev/null
		echo "status $?"
		cut -d " " -f 5 /proc/self/mountinfo | sort >"$1/after"
		diff "$1/before" "$1/after"' "$OCI" "$T" "$1" "$(oci_id sys)"
}

test_a_root_that_is_shared_changes_no_mount_of_the_host() {
	need_oci
	for how in shared rshared slave rslave private rprivate unbindable; do
		bundle b ".linux.rootfsPropagation = \"$how\" | .process.args = [\"mount\", \"-t\", \"tmpfs\", \"t\", \"/tmp\"]
			| .process.capabilities[] += [\"CAP_SYS_ADMIN\"]"
		run shared_host b
		check_eq "$how: $(cat "$T/out")" "$how: status 0"
	done
	check_nothing_left
}

test_exec_gives_no_inheritable_capability() {
	need_oci
	bundle b '.process.args = ["sleep", "600"]'
	c=$(oci_id cap)
	oci_ok run --detach --bundle "$T/b" "$c"
	oci_ok exec --cap CAP_NET_RAW "$c" grep Cap /proc/self/status
	check_matches "$T/out" '^CapInh:.0000000000000000'
	check_matches "$T/out" '^CapAmb:.0000000000000000'
	check_matches "$T/out" '^CapEff:.0000000020002420'
	oci_ok delete --force "$c"
	check_nothing_left
}

test_the_state_of_another_user_is_not_believed() {
	need_oci
	bundle b ".hooks.poststop = [{\"path\": \"/bin/touch\", \"args\": [\"touch\", \"$T/owned\"]}]"
	mkdir -p "$T/theirs/x" "$T/everybodys" "$T/ours/x"
	echo '{"ociVersion": "1.0.2", "bundle": "/", "cgroup": "", "pid": 0, "creating": true}' >"$T/theirs/x/state.json"
	cp "$T/b/config.json" "$T/theirs/x"
	cp -r "$T/theirs/x" "$T/ours"
	chown -R 1000:1000 "$T/theirs" "$T/ours/x"
	chmod 777 "$T/everybodys"
	for root in "$T/theirs" "$T/ours"; do
		run "$OCI" --root "$root" delete --force x
		check_eq "$status" 1
		check_contains "$T/err" "belongs to user 1000"
		run "$OCI" --root "$root" state x
		check_eq "$status" 1
	done
	[ ! -e "$T/owned" ] || fail "a hook of another user's state was executed"
	run "$OCI" --root "$T/theirs" create --bundle "$T/b" y
	check_eq "$status" 1
	run "$OCI" --root "$T/everybodys" create --bundle "$T/b" y
	check_eq "$status" 1
	check_contains "$T/err" "everybody may write"
	check_eq "$(ls "$T/everybodys")" ""
}

test_a_pid_file_is_a_new_file() {
	need_oci
	bundle b '.process.args = ["sleep", "600"]'
	c=$(oci_id pid)
	mkdir "$T/dir"
	# Whoever may write to that directory knows the name before we do.
	cat >"$T/shim" <<-EOF
		#!/bin/sh
		ln "$T/victim" "$T/dir/.pid.\$\$"
		exec "$OCI" --root "$T/state" create --bundle "$T/b" --pid-file "$T/dir/pid" "$c"
	EOF
	echo kept >"$T/victim"
	run sh "$T/shim"
	check_eq "$status" 0
	check_eq "$(cat "$T/victim")" kept
	check_eq "$(cat "$T/dir/pid")" "$("$OCI" --root "$T/state" state "$c" | jq -r .pid)"
	oci_ok delete --force "$c"
	check_nothing_left
}

test_only_who_made_a_container_may_start_it() {
	need_oci
	bundle b '.process.args = ["sleep", "600"]'
	c=$(oci_id sock)
	umask 0
	oci_ok create --bundle "$T/b" "$c"
	check_eq "$(stat -c %a "$T/state/$c/start.sock")" 600
	oci_ok delete --force "$c"
	check_nothing_left
}

test_a_start_that_was_killed_leaves_a_container_that_runs() {
	need_oci
	bundle b '.process.args = ["sleep", "600"]'
	c=$(oci_id started)
	oci_ok create --bundle "$T/b" "$c"
	ln "$T/state/$c/start.sock" "$T/state/$c/kept"
	oci_ok start "$c"
	mv "$T/state/$c/kept" "$T/state/$c/start.sock" # as if it had died before it could remove it
	check_eq "$(oci_status "$c")" running
	oci delete "$c"
	check_eq "$status" 1
	check_contains "$T/err" "not stopped"
	oci_ok kill "$c" KILL
	wait_status "$c" stopped
	oci_ok delete "$c"
	check_nothing_left
}

test_a_container_in_the_foreground_can_be_changed_by_others() {
	need_oci
	bundle b '.process.args = ["sleep", "600"]'
	c=$(oci_id fore)
	"$OCI" --root "$T/state" run --bundle "$T/b" "$c" >"$T/log" 2>&1 </dev/null &
	runner=$!
	wait_status "$c" running
	for words in "pause $c" "resume $c" "update --pids-limit 50 $c" "delete --force $c"; do
		# shellcheck disable=SC2086 # words
		check_status 0 timeout 20 "$OCI" --root "$T/state" $words
	done
	status=0
	wait "$runner" || status=$?
	check_eq "$status $(cat "$T/log")" "137 "
	check_nothing_left
}

test_one_id_for_many_at_once_loses_nobody() {
	need_oci
	bundle b '.process.args = ["sleep", "600"]'
	c=$(oci_id many)
	for who in 1 2 3 4; do
		(
			i=0
			while [ "$i" -lt 25 ]; do
				"$OCI" --root "$T/state" create --bundle "$T/b" "$c" >/dev/null 2>&1 </dev/null || :
				[ "$who" = 1 ] || "$OCI" --root "$T/state" start "$c" >/dev/null 2>&1 || :
				"$OCI" --root "$T/state" delete --force "$c" >/dev/null 2>>"$T/errors" || :
				i=$((i + 1))
			done
		) &
	done
	wait
	oci_ok delete --force "$c"
	check_eq "$(cat "$T/errors")" ""
	check_nothing_left
}

test_a_limit_of_few_descriptors_is_the_programs_alone() {
	need_oci
	bundle b '.process.rlimits = [{"type": "RLIMIT_NOFILE", "soft": 4, "hard": 5}] | .process.args = ["sh", "-c", "ulimit -Sn; ulimit -Hn"]'
	c=$(oci_id few)
	"$OCI" --root "$T/state" create --bundle "$T/b" "$c" >"$T/log" 2>&1 </dev/null
	check_eq "$(oci_status "$c")" created
	oci_ok start "$c"
	wait_status "$c" stopped
	check_eq "$(tr '\n' ' ' <"$T/log")" "4 5 "
	oci_ok delete "$c"
	check_nothing_left
}

test_a_link_leads_no_proc_to_where_its_masks_do_not_find_it() {
	need_oci
	bundle b '.process.args = ["true"]'
	for name in proc sys; do
		rm "$T/b/rootfs"
		rootfs "$T/b/rootfs"
		rmdir "$T/b/rootfs/$name"
		mkdir "$T/b/rootfs/other"
		ln -s /other "$T/b/rootfs/$name"
		oci run --bundle "$T/b" "$(oci_id link)"
		check_eq "$status" 1
		check_contains "$T/err" "mounting at '/$name': a symbolic link leads there"
		rm -r "$T/b/rootfs"
		ln -s ../rootfs "$T/b/rootfs"
	done
	# Or the directory is moved away between the mounts and the masks, by who shares the root.
	bundle m "$(printf '.hooks.createRuntime = [{"path": "/bin/sh", "args": ["sh", "-c", "mv %s/proc %s/other; mkdir %s/proc"]}]' "$T/rootfs" "$T/rootfs" "$T/rootfs")
		| .process.args = [\"head\", \"-c\", \"1\", \"/other/keys\"]"
	oci run --bundle "$T/m" "$(oci_id link)"
	check_eq "$status" 1
	check_contains "$T/err" "moved away"
	check_nothing_left
}

test_at_proc_there_is_nothing_but_a_proc() {
	need_oci
	mkdir "$T/fake"
	for mount in "{\"type\": \"bind\", \"source\": \"$T/fake\", \"options\": [\"bind\"]}" '{"type": "tmpfs", "source": "t"}'; do
		for at in /proc //proc/ proc; do
			bundle b ".mounts = [$mount + {\"destination\": \"$at\"}] + (.mounts | map(select(.destination != \"/proc\")))"
			oci run --bundle "$T/b" "$(oci_id fake)"
			check_eq "$status" 1
			check_contains "$T/err" "/proc and no proc"
		done
	done
	# The host's own is one.
	bundle b '(.mounts[] | select(.destination == "/proc")) = {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}'
	oci_ok run --bundle "$T/b" "$(oci_id fake)"
	check_nothing_left
}

# A device's directory is a volume, in which another container exchanges the node for a link to a file of the host.
test_a_device_that_is_exchanged_for_a_link_changes_no_file() {
	need_cc
	mkdir "$T/volume"
	echo secret >"$T/victim"
	chmod 600 "$T/victim"
	mknod "$T/volume/d" c 1 3
	ln -s "$T/victim" "$T/volume/link"
	"${CC:-cc}" -O2 -o "$T/exchange" "$FSBOX_SRC/tests/lib/oci_attack/exchange.c"
	bundle b ".mounts += [{\"destination\": \"/volume\", \"type\": \"bind\", \"source\": \"$T/volume\", \"options\": [\"bind\"]}]
		| .linux.devices = [range(40) | {\"path\": \"/volume/d\", \"type\": \"c\", \"major\": 1, \"minor\": 3, \"fileMode\": 438}]
		| .process.args = [\"true\"]"
	"$T/exchange" "$T/volume/d" "$T/volume/link" &
	exchange=$!
	i=0
	while [ "$i" -lt 60 ] && [ "$(stat -c %a "$T/victim")" = 600 ]; do
		oci run --bundle "$T/b" "$(oci_id node)"
		i=$((i + 1))
	done
	kill "$exchange"
	check_eq "$(stat -c %a "$T/victim")" 600
	check_nothing_left
}

test_paths_with_dots_are_found_while_the_host_mounts_and_renames() {
	need_cc
	mkdir "$T/volume" "$T/volume/a" "$T/volume/b"
	"${CC:-cc}" -O2 -o "$T/exchange" "$FSBOX_SRC/tests/lib/oci_attack/exchange.c"
	bundle b '.mounts += [range(20) | {"destination": "/run/m\(.)", "type": "tmpfs", "source": "t"}] | .process.args = ["true"]'
	mkdir -p "$T/rootfs/var/run"
	ln -sfn ./var/../var/run/../../var/run "$T/rootfs/run"
	"$T/exchange" "$T/volume/a" "$T/volume/b" &
	exchange=$!
	i=0
	while [ "$i" -lt 20 ]; do
		oci run --bundle "$T/b" "$(oci_id dots)"
		[ "$status" = 0 ] || break
		i=$((i + 1))
	done
	kill "$exchange"
	check_eq "$status" 0
	check_nothing_left
}

test_a_path_of_groups_is_nobody_elses() {
	need_oci
	for path in / /. /./ /.. ../x /a/../../x /a/./b /a//b; do
		bundle b ".linux.cgroupsPath = \"$path\" | .process.args = [\"true\"]"
		oci run --bundle "$T/b" "$(oci_id path)"
		check_eq "$path $status" "$path 1"
		check_matches "$T/err" 'is not taken|is not empty'
	done
	check_nothing_left
}

# Of two that are made in one group at the same time the end of the first would be the end of the second.
test_two_containers_never_share_a_group() {
	need_oci
	bundle b ".linux.cgroupsPath = \"/fsbox-oci/$(oci_id group)\" | .process.args = [\"sleep\", \"600\"]"
	for round in 1 2 3 4 5 6; do
		for who in 1 2 3 4; do
			"$OCI" --root "$T/state" run --detach --bundle "$T/b" "$(oci_id "share$who")" >/dev/null 2>&1 </dev/null &
		done
		wait
		check_eq "$round: $("$OCI" --root "$T/state" list -q | wc -l)" "$round: 1"
		oci_ok delete --force "$("$OCI" --root "$T/state" list -q)"
		check_nothing_left
	done
}

# On a hybrid host a group of that name may have processes in a hierarchy of v1 only.
test_a_group_of_others_in_one_hierarchy_is_theirs() {
	need_oci
	[ -d /sys/fs/cgroup/pids ] || skip_host "no hierarchies of v1"
	[ -d /sys/fs/cgroup/unified ] || skip_host "no cgroup2 beside them"
	c=$(oci_id theirs)
	mkdir "/sys/fs/cgroup/unified/$c" "/sys/fs/cgroup/pids/$c" "/sys/fs/cgroup/pids/$c/empty"
	command sleep 60 &
	sleeper=$!
	echo "$sleeper" >"/sys/fs/cgroup/pids/$c/cgroup.procs"
	bundle b ".linux.cgroupsPath = \"/$c\" | .process.args = [\"true\"] | .linux.resources.pids = {\"limit\": 3}"
	oci run --bundle "$T/b" "$c"
	found="$status $(cat "/sys/fs/cgroup/pids/$c/pids.max") $(ls -d "/sys/fs/cgroup/pids/$c/empty" 2>/dev/null || :)"
	kill "$sleeper"
	wait "$sleeper" || :
	rmdir "/sys/fs/cgroup/unified/$c" "/sys/fs/cgroup/pids/$c/empty" "/sys/fs/cgroup/pids/$c" 2>/dev/null || :
	check_contains "$T/err" "not empty"
	check_eq "$found" "1 max /sys/fs/cgroup/pids/$c/empty"
	check_nothing_left
}

test_our_own_program_cannot_be_written_to_from_a_container() {
	need_oci
	cp "$OCI" "$T/fsbox-oci"
	OCI=$T/fsbox-oci
	bundle b '.process.args = ["true"]'
	c=$(oci_id exe)
	oci_ok create --bundle "$T/b" "$c"
	pid=$("$OCI" --root "$T/state" state "$c" | jq -r .pid)
	exec 8<"/proc/$pid/exe" # while it is executed it is busy in any case
	oci_ok delete --force "$c"
	status=0
	(echo overwritten >>/dev/fd/8) 2>/dev/null || status=$?
	exec 8<&-
	[ "$status" != 0 ] || fail "the program was written to"
	check cmp "$T/fsbox-oci" "$FSBOX_BUILD/fsbox-oci"
	check_nothing_left
}

test_only_descriptors_of_the_caller_are_preserved() {
	need_oci
	echo three >"$T/three"
	bundle b '.process.args = ["sh", "-c", "echo $LISTEN_FDS; cat <&3"]'
	status=0
	"$OCI" --root "$T/state" run --preserve-fds 3 --bundle "$T/b" "$(oci_id fds)" 3<"$T/three" 4<&- 5<&- >"$T/out" 2>"$T/err" </dev/null || status=$?
	check_eq "$status" 1
	check_contains "$T/err" "descriptor 4 is to be preserved, and is not open"
	# Those of systemd are for the process that LISTEN_PID names.
	status=0
	LISTEN_FDS=1 LISTEN_PID=1 "$OCI" --root "$T/state" run --bundle "$T/b" "$(oci_id fds)" 3<"$T/three" >"$T/out" 2>"$T/err" </dev/null || status=$?
	[ "$status" != 0 ] || fail "descriptor 3 is there"
	check_eq "$(cat "$T/out")" ""
	status=0
	sh -c 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" --root "$1/state" run --bundle "$1/b" "$2"' "$OCI" "$T" "$(oci_id fds)" 3<"$T/three" >"$T/out" 2>"$T/err" </dev/null || status=$?
	check_eq "$status $(tr '\n' ' ' <"$T/out")" "0 1 three "
	check_nothing_left
}

test_a_device_rule_that_would_not_hold_is_refused() {
	need_oci
	deny='{"allow": false, "access": "rwm"}'
	# All of a major number without one of its devices: that one would stay allowed.
	while read -r rules; do
		bundle b ".linux.resources.devices = [$deny, $rules]"
		oci run --bundle "$T/b" "$(oci_id rules)"
		check_eq "$rules $status" "$rules 1"
		check_contains "$T/err" "linux.resources.devices"
	done <<-EOF
		{"allow": true, "type": "c", "major": 1, "access": "rwm"}, {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "rwm"}
		{"allow": true, "type": "c", "access": "rw"}, {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "w"}
		{"allow": true, "type": "c", "major": 4294967297, "minor": 11, "access": "rwm"}
		{"allow": true, "type": "c", "major": -5, "minor": 11, "access": "rwm"}
		{"allow": true, "type": "x", "major": 1, "minor": 11, "access": "rwm"}
		{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rx"}
	EOF
	bundle b ".linux.resources.devices = [{\"allow\": true, \"type\": \"c\", \"major\": 1}, $deny, {\"allow\": true, \"type\": \"c\", \"access\": \"m\"},
		{\"allow\": false, \"type\": \"c\", \"major\": 1, \"minor\": 5, \"access\": \"rw\"}]"
	oci_ok run --bundle "$T/b" "$(oci_id rules)"
	check_nothing_left
}

test_a_long_list_of_cpus_is_not_cut_off() {
	need_oci
	[ "$(nproc)" -ge 2 ] || skip_host "one CPU"
	bundle b '.linux.resources.cpu = {"cpus": ([range(200)] | map("0") | join(",") + ",1")} | .process.args = ["true"]'
	c=$(oci_id cpus)
	oci_ok create --bundle "$T/b" "$c"
	for file in /sys/fs/cgroup/cpuset/fsbox-oci/$c/cpuset.cpus /sys/fs/cgroup/fsbox-oci/$c/cpuset.cpus; do
		[ ! -e "$file" ] || check_eq "$(cat "$file")" "0-1"
	done
	oci_ok delete --force "$c"
	check_nothing_left
}

test_names_of_processes_do_not_reach_the_terminal() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "printf \"\\033[2Jx\" >/proc/self/comm; sleep 600 & wait"]'
	c=$(oci_id ps)
	oci_ok run --detach --bundle "$T/b" "$c"
	i=0
	until oci_ok ps "$c" && grep -q '2Jx' "$T/out" || [ "$i" -gt 50 ]; do
		command sleep 0.1
		i=$((i + 1))
	done
	check_contains "$T/out" "?[2Jx"
	oci_ok delete --force "$c"
	check_nothing_left
}

test_a_terminal_that_is_not_read_keeps_nobody_from_the_container() {
	need_oci
	bundle b '.process.terminal = true | .process.args = ["sh", "-c", "trap \"exit 3\" TERM; while :; do sleep 0.1; done"]'
	c=$(oci_id typed)
	mkfifo "$T/input"
	"$OCI" --root "$T/state" run --bundle "$T/b" "$c" <"$T/input" >"$T/log" 2>&1 &
	runner=$!
	yes >"$T/input" 2>/dev/null &
	typist=$!
	wait_status "$c" running
	command sleep 1
	kill -TERM "$runner"
	i=0
	while [ "$i" -lt 100 ] && kill -0 "$runner" 2>/dev/null; do
		command sleep 0.1
		i=$((i + 1))
	done
	kill "$typist" 2>/dev/null || :
	oci_ok delete --force "$c"
	kill -KILL "$runner" 2>/dev/null || :
	status=0
	wait "$runner" || status=$?
	check_eq "$status" 3
	check_nothing_left
}

test_ids_that_cannot_be_mapped_are_no_ids_of_the_host() {
	need_oci
	mkdir "$T/data"
	chmod 755 "$T" "$TAP_DIR"
	bundle b "$USER_NS | .process.args = [\"ls\", \"-ln\", \"/data\"] | .mounts += [{\"destination\": \"/data\", \"type\": \"bind\",
		\"source\": \"$T/data\", \"options\": [\"bind\", \"idmap\"]}]"
	run "$OCI" --rootless=true --root "$T/state" run --bundle "$T/b" "$(oci_id ids)"
	check_eq "$status" 1
	check_contains "$T/err" "mapping the ids of '/data' takes root"
	check_nothing_left
}

# --no-pivot where pivot_root(2) fails: the host's mounts stand below the container's root, in the same namespace.
need_beneath() {
	need_cc
	for beneath_program in without_pivot beneath; do
		"${CC:-cc}" -D_GNU_SOURCE -O2 -static -o "$T/$beneath_program" "$FSBOX_SRC/tests/lib/oci_attack/$beneath_program.c"
	done
	bundle b
	cp "$T/beneath" "$T/rootfs/bin/beneath"
	chmod 755 "$T" "$TAP_DIR"
	unshare --user true || skip_host "no user namespaces"
}
no_pivot() { # BUNDLE
	run "$T/without_pivot" "$OCI" --root "$T/state" run --no-pivot --bundle "$T/$1" "$(oci_id pivot)"
	check_eq "$status" 0
}

test_no_pivot_leaves_no_proc_of_the_host() {
	need_beneath
	before=$(cat /proc/self/mountinfo)
	bundle b '.process.args = ["beneath", "fresh"]'
	oci_ok run --bundle "$T/b" "$(oci_id pivot)"
	check_eq "$(cat "$T/out")" "fresh proc: refused"
	oci_ok run --no-pivot --bundle "$T/b" "$(oci_id pivot)"
	check_eq "$(cat "$T/out")" "fresh proc: refused"
	no_pivot b
	check_eq "$(cat "$T/out")" "fresh proc: refused"
	bundle b "$USER_NS | .process.args = [\"beneath\", \"fresh\"] | .process.capabilities[] -= [\"CAP_SYS_ADMIN\"]"
	no_pivot b
	check_eq "$(cat "$T/out")" "fresh proc: refused"
	check_eq "$(cat /proc/self/mountinfo)" "$before"
	check_nothing_left
}

test_no_pivot_leaves_nothing_to_be_found_beneath() {
	need_beneath
	bundle b '.process.args = ["beneath", "under"] | .process.capabilities[] += ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]'
	no_pivot b
	check_eq "$(tr '\n' ' ' <"$T/out")" "proc of the host: gone sys of the host: gone sysctls: gone "
	# What is unmounted there stays on the host, whoever hears of whom.
	cat >"$T/shared.sh" <<-'END'
		mount --make-rshared /
		dir=$1
		shift
		cat /proc/self/mountinfo >"$dir/before"
		"$@" || exit 9
		cat /proc/self/mountinfo >"$dir/after"
		test -e /proc/version && test -e /sys/kernel
	END
	for how in private shared rshared; do
		bundle s ".linux.rootfsPropagation = \"$how\" | .process.args = [\"cat\", \"/proc/self/mountinfo\"]"
		run unshare -m sh "$T/shared.sh" "$T" "$T/without_pivot" "$OCI" --root "$T/state" run --no-pivot --bundle "$T/s" "$(oci_id pivot)"
		check_eq "$how $status" "$how 0"
		check_eq "$(cat "$T/after")" "$(cat "$T/before")"
	done
	check_nothing_left
}

run_tests "$@"
