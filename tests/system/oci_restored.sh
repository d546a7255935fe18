#!/bin/sh
# What is not in CRIU's images, and a restored container must have all the same, or must not have: keys, namespaces,
# priorities, who is told.
# time-limit: 300
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"
# shellcheck source=tests/lib/oci_criu.sh
. "$(dirname "$0")/../lib/oci_criu.sh"

needs_keys() {
	command -v "${CC:-cc}" >/dev/null || skip "no compiler"
	"${CC:-cc}" -O2 -static -o "$T/keyring" "$FSBOX_SRC/tests/lib/oci_attack/keyring.c"
	"$T/keyring" hold word true || skip_host "no keys for this process"
}

in_tmp() { # ID FILE TEXT: the container's /tmp/FILE says so, soon
	for in_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		in_said=$(cat "/proc/$(pid_of "$1")/root/tmp/$2" 2>/dev/null || :)
		[ "$in_said" != "$3" ] || return 0
		command sleep 0.1
	done
	fail "/tmp/$2 says '$in_said', wanted '$3'"
}

# Who restores may be a person, whose session keyring has tickets, passwords, keys of disks.
test_the_keys_of_who_restores_are_not_the_containers() {
	need_criu
	needs_keys
	id=$(oci_id k)
	bundle b ".mounts += [$TMPFS] | .process.args = [\"keyring\", \"seek\", \"/tmp/found\"]"
	cp "$T/keyring" "$T/rootfs/bin/keyring"
	"$T/keyring" hold word "$OCI" --root "$T/state" run -d --bundle "$T/b" "$id" </dev/null >/dev/null 2>&1
	in_tmp "$id" found none
	dump_ok "$id"
	run "$T/keyring" hold word "$OCI" --root "$T/state" restore --detach --bundle "$T/b" --image-path "$T/img" --work-path "$T/work" "$id"
	check_eq "$status" 0
	: >"/proc/$(pid_of "$id")/root/tmp/found"
	in_tmp "$id" found none
	oci_ok delete --force "$id"
	check_nothing_left
}

# Of a process that has a UTS namespace, and all the others from the host.
images_of_a_stray() {
	criu_in "$T/bin"
	mkdir "$T/img"
	unshare --uts setsid sleep 1000 </dev/null >/dev/null 2>&1 &
	stray=$!
	command sleep 0.3
	"$T/bin/criu" dump --tree "$stray" --images-dir "$T/img" >"$T/dump" 2>&1 || skip_host "CRIU cannot dump a process here"
	wait "$stray" 2>/dev/null || :
}

# Images of a process that had no mount namespace, with a config.json that wants one: it would be in CRIU's, where the root is
# the host's.
test_images_without_a_mount_namespace_are_refused() {
	need_criu
	id=$(oci_id m)
	images_of_a_stray
	bundle b '.process.args = ["sleep", "1000"] | .linux.namespaces = [{"type": "mount"}, {"type": "uts"}]'
	bring_back --bundle "$T/b" "$id"
	stray=$(jq .pid "$T/state/$id/state.json" 2>/dev/null || :)
	[ -z "$stray" ] || [ "$(readlink "/proc/$stray/root")" != / ] || note "its root is $(ls "/proc/$stray/root")"
	one_line_with "the images have another one"
	check_nothing_left
}

# What config.json has for a new namespace is not done in the one that the images turn out to have: the host's.
test_images_without_a_network_namespace_change_no_sysctl() {
	need_criu
	id=$(oci_id n)
	images_of_a_stray
	was=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)
	bundle b '.process.args = ["sleep", "1000"] | .linux.namespaces = [{"type": "mount"}, {"type": "uts"}, {"type": "network"}]
		| .linux.sysctl = {"net.ipv4.ip_unprivileged_port_start": "78"}
		| .hooks = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "touch '"$T"'/called"]}]}'
	bring_back --bundle "$T/b" "$id"
	now=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)
	[ "$now" = "$was" ] || echo "$was" >/proc/sys/net/ipv4/ip_unprivileged_port_start
	check_eq "$now" "$was"
	one_line_with "the images have another one"
	[ ! -e "$T/called" ] || fail "a hook was called"
	check_nothing_left
}

test_who_is_told_of_the_process_is_told_again() {
	need_criu
	command -v python3 >/dev/null || skip "no python3"
	id=$(oci_id p)
	cat >"$T/receive.py" <<-'EOF'
		import array, socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
		s.bind(sys.argv[1])
		s.listen()
		for n in range(2):
		    c = s.accept()[0]
		    control = c.recvmsg(100, 100)[1]
		    fd = array.array("i", control[0][2])[0]
		    print([l for l in open("/proc/self/fdinfo/%d" % fd) if l.startswith("Pid:")][0].split()[1], flush=True)
	EOF
	timeout 60 python3 "$T/receive.py" "$T/pidfd.sock" >"$T/told" &
	receiver=$!
	while [ ! -S "$T/pidfd.sock" ]; do command sleep 0.05; done
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT") | .annotations[\"run.oci.pidfd_receiver\"] = \"$T/pidfd.sock\""
	start "$id" b
	pid_of "$id" >"$T/wanted"
	dump_ok "$id"
	bring_back_ok --bundle "$T/b" "$id"
	pid_of "$id" >>"$T/wanted"
	for try in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(wc -l <"$T/told")" -lt 2 ] || break
		command sleep 0.1
	done
	kill "$receiver" 2>/dev/null || :
	check_eq "$(cat "$T/told")" "$(cat "$T/wanted")"
	oci_ok delete --force "$id"
	check_nothing_left
}

test_priorities_and_policies_are_as_config_json_says() {
	need_criu
	command -v ionice >/dev/null || skip "no ionice (Debian package util-linux)"
	[ -e /proc/self/numa_maps ] || skip_host "a kernel without memory policies"
	id=$(oci_id i)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT") | .process.ioPriority = {\"class\": \"IOPRIO_CLASS_BE\", \"priority\": 6}
		| .linux.memoryPolicy = {\"mode\": \"MPOL_BIND\", \"nodes\": \"0\"}"
	start "$id" b
	kept() { # of the process and of one that it starts later
		ionice -p "$(pid_of "$id")"
		grep -c 'bind.*:0' "/proc/$(pid_of "$id")/numa_maps" | sed 's/[1-9][0-9]*/bound/'
	}
	kept >"$T/before"
	check_contains "$T/before" bound
	dump_ok "$id"
	bring_back_ok --bundle "$T/b" "$id"
	kept >"$T/after"
	diff "$T/before" "$T/after" >"$T/diff" || fail "not as before: $(cat "$T/diff")"
	oci_ok delete --force "$id"
	check_nothing_left
}

# CRIU knows some of them, and of those what they were at the checkpoint; the others are config.json's.
test_sysctls_are_as_before() {
	need_criu
	command -v ip >/dev/null || skip "no ip (Debian package iproute2)"
	id=$(oci_id s) net=fsbox-test-$$
	ip netns add "$net"
	trap 'ip netns del "$net"; oci_end_all' EXIT
	values='.linux.sysctl = {"net.core.somaxconn": "77", "net.ipv4.ip_unprivileged_port_start": "99", "net.ipv4.ip_forward": "1",
		"kernel.shmmax": "123456"}'
	values_now() { # what root of the host sees in its namespaces
		values_pid=$(pid_of "$id")
		nsenter -t "$values_pid" -n sh -c 'cd /proc/sys/net && cat core/somaxconn ipv4/ip_unprivileged_port_start ipv4/ip_forward'
		nsenter -t "$values_pid" -i cat /proc/sys/kernel/shmmax
	}
	for kind in own given user; do
		case $kind in
		own) more=. ;;
		given) more=".linux.namespaces = [.linux.namespaces[] | select(.type != \"network\")] + [{\"type\": \"network\", \"path\": \"/run/netns/$net\"}]" ;;
		user) more='.linux.namespaces += [{"type": "user"}] | .linux.gidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
			| .linux.uidMappings = .linux.gidMappings | .linux.sysctl["user.max_inotify_watches"] = "55"' ;;
		esac
		chmod 711 "$TAP_DIR" "$T"
		[ -e "$T/state" ] || mkdir -m 711 "$T/state"
		bundle b ".mounts += [$TMPFS] | $(script "$COUNT") | $values | $more"
		start "$id" b
		check_eq "$(values_now | tr '\n' ' ')" "77 99 1 123456 "
		# One that CRIU knows has changed since.
		nsenter -t "$(pid_of "$id")" -n sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'
		rm -rf "$T/img"
		dump_ok "$id"
		if [ "$kind" = given ]; then # another one of that name, as engines make it
			ip netns del "$net"
			ip netns add "$net"
		fi
		bring_back_ok --bundle "$T/b" "$id"
		if [ "$kind" = given ]; then last=1; else last=0; fi
		check_eq "$(values_now | tr '\n' ' ')" "77 99 $last 123456 "
		[ "$kind" != user ] || check_eq "$(nsenter -t "$(pid_of "$id")" -U cat /proc/sys/user/max_inotify_watches)" 55
		oci_ok delete --force "$id"
		check_nothing_left
	done
}

# With a --root in which others may make files, one of theirs is not what CRIU believes of the kernel.
test_what_is_known_of_the_kernel_is_ours() {
	need_criu
	id=$(oci_id n)
	bundle b ".mounts += [$TMPFS] | $(script "$COUNT")"
	mkdir -m 1777 "$T/state"
	chmod 1777 "$T/state"
	start "$id" b
	dump_ok --leave-running "$id"
	known=$(find "$T/state" -name '.criu-*.kdat')
	check test -n "$known"
	echo planted >"$known"
	chown 1000 "$known"
	rm -rf "$T/img"
	dump_ok --leave-running "$id"
	check_eq "$(stat -c %u "$known")" 0
	check_lacks "$known" planted
	oci_ok delete --force "$id"
	rm "$known"
	check_nothing_left
}

run_tests "$@"
