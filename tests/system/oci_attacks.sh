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
	c=$(oci_id c)
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

run_tests "$@"
