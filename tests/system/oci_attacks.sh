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
	"$OCI" --root "$T/state" exec --user 1000 "$c" true <"$T/null"
	check_eq "$(stat -c %u "$T/null")" 0
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

run_tests "$@"
