#!/bin/sh
# runtime-spec, config.md: hooks. Which sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

ALL="prestart createRuntime createContainer startContainer poststart poststop"
RUNTIME="prestart createRuntime poststart poststop"

# A hook that the host has, as JSON. Its script sees $0 as its own name.
hook() { # SCRIPT [NAME]
	printf '{"path": "/bin/sh", "args": ["sh", "-c", %s, "%s"], "env": ["PATH=/usr/bin:/bin"]}' "$(printf '%s' "$1" | jq -Rs .)" "${2-}"
}

# Hooks of all kinds; those of the container write to its own /tmp once its root is there.
every_kind() { # SCRIPT: with FILE for where to write
	every=.
	for kind in $ALL; do
		to=$T/$kind
		[ "$kind" != startContainer ] || to=/tmp/$kind
		every="$every | .hooks.$kind = [$(hook "$(printf '%s' "$1" | sed "s|FILE|$to|g")" "$kind")]"
	done
	echo "$every"
}

run_all() { # SCRIPT: hooks of all kinds have run
	bundle b "$(every_kind "$1") | .process.args = [\"true\"] | .root.readonly = false"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	mv "$T/rootfs/tmp/startContainer" "$T/startContainer"
	check_nothing_left
}

test_paths_are_absolute() {
	need_oci
	for kind in $ALL; do
		refused ".hooks.$kind = [{\"path\": \"bin/true\"}]" "$kind"
	done
}

test_a_timeout_is_above_zero() {
	need_oci
	for kind in $ALL; do
		refused ".hooks.$kind = [{\"path\": \"/bin/true\", \"timeout\": 0}]" timeout
		refused ".hooks.$kind = [{\"path\": \"/bin/true\", \"timeout\": -1}]" timeout
	done
}

test_a_timeout_ends_the_hook() {
	need_oci
	refused '.hooks.createRuntime = [{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}]' "longer than 1 s"
	check_nothing_left
}

test_arguments_and_environment_are_those_listed() {
	need_oci
	# The environment as the kernel has it: a shell would add its own.
	bundle b "$(
		printf '.process.args = ["true"]'
		for kind in $RUNTIME createContainer; do
			printf ' | .hooks.%s = [{"path": "/bin/cp", "args": ["other", "/proc/self/environ", "%s"], "env": ["A=1", "B=x y"]}, {"path": "/bin/cp", "args": ["other", "/proc/self/cmdline", "%s"]}]' "$kind" "$T/$kind.env" "$T/$kind.args"
		done
	)"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	for kind in $RUNTIME createContainer; do
		check_eq "$(tr '\0' '|' <"$T/$kind.env")" "A=1|B=x y|"
		check_eq "$(tr '\0' ' ' <"$T/$kind.args" | cut -d ' ' -f 1,2)" "other /proc/self/cmdline"
	done
}

test_hooks_run_in_the_listed_order() {
	need_oci
	order=.
	for kind in $ALL; do
		to=$T/$kind
		[ "$kind" != startContainer ] || to=/tmp/$kind
		order="$order | .hooks.$kind = [$(hook "echo first >>$to"), $(hook "echo second >>$to"), $(hook "echo third >>$to")]"
	done
	bundle b "$order | .process.args = [\"true\"] | .root.readonly = false"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	mv "$T/rootfs/tmp/startContainer" "$T/startContainer"
	for kind in $ALL; do
		check_eq "$(tr '\n' ' ' <"$T/$kind")" "first second third "
	done
}

test_the_state_comes_on_standard_input() {
	need_oci
	run_all 'cat >FILE'
	for kind in $ALL; do
		check_eq "$(jq -r .id "$T/$kind")" "$(oci_id c)"
		check_eq "$(jq -r .bundle "$T/$kind")" "$T/b"
		check jq -e '.ociVersion' "$T/$kind"
	done
	check_eq "$(for kind in $ALL; do jq -r .status "$T/$kind"; done | tr '\n' ' ')" "creating creating creating created running stopped "
}

test_the_state_has_the_process_by_the_number_that_the_hook_sees() {
	need_oci
	bundle b "$(every_kind 'cat >FILE') | .process.args = [\"sleep\", \"60\"] | .root.readonly = false"
	c=$(oci_id c)
	oci_ok run -d --bundle "$T/b" "$c"
	for kind in prestart createRuntime poststart; do
		check_eq "$(jq .pid "$T/$kind")" "$(oci_pid "$c")"
	done
	check_eq "$(jq .pid "$T/createContainer")" 1
	check_eq "$(jq .pid "$T/rootfs/tmp/startContainer")" 1
	oci_ok delete -f "$c"
}

test_hooks_of_the_runtime_run_in_its_namespaces() {
	need_oci
	run_all 'for n in mnt net ipc uts pid; do readlink /proc/self/ns/$n; done >FILE'
	for kind in $RUNTIME; do
		check_eq "$(cat "$T/$kind")" "$(for n in mnt net ipc uts pid; do readlink "/proc/self/ns/$n"; done)"
	done
}

test_hooks_of_the_container_run_in_its_namespaces() {
	need_oci
	bundle b "$(every_kind 'for n in mnt net ipc uts; do readlink /proc/self/ns/$n; done >FILE') | .process.args = [\"sleep\", \"60\"] | .root.readonly = false"
	c=$(oci_id c)
	oci_ok run -d --bundle "$T/b" "$c"
	inside=$(for n in mnt net ipc uts; do readlink "/proc/$(oci_pid "$c")/ns/$n"; done)
	check_eq "$(cat "$T/createContainer")" "$inside"
	check_eq "$(cat "$T/rootfs/tmp/startContainer")" "$inside"
	oci_ok delete -f "$c"
}

# A program by a name that only one side has.
test_paths_resolve_where_the_spec_says() {
	need_oci
	mkdir "$T/host"
	cp "$(command -v busybox)" "$T/host/sh"
	rootfs "$T/rootfs"
	mkdir "$T/rootfs/inside"
	cp "$(command -v busybox)" "$T/rootfs/inside/sh"
	bundle b "$(
		printf '.process.args = ["true"] | .root.readonly = false'
		for kind in $RUNTIME createContainer; do
			printf ' | .hooks.%s = [{"path": "%s", "args": ["sh", "-c", "echo %s >>%s"]}]' "$kind" "$T/host/sh" "$kind" "$T/ran"
		done
	) | .hooks.startContainer = [{\"path\": \"/inside/sh\", \"args\": [\"sh\", \"-c\", \"echo startContainer >/ran\"]}]"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	check_eq "$(tr '\n' ' ' <"$T/ran")" "prestart createRuntime createContainer poststart poststop "
	check_eq "$(cat "$T/rootfs/ran")" startContainer
	refused '.hooks.createContainer = [{"path": "/inside/sh"}]' /inside/sh
}

test_kinds_run_in_their_order() {
	need_oci
	c=$(oci_id c)
	bundle b "$(every_kind 'date +%s%N >FILE') | .process.args = [\"sh\", \"-c\", \"cat /tmp/startContainer >/tmp/program\"] | .root.readonly = false"
	oci_ok create --bundle "$T/b" "$c"
	check_eq "$(for kind in $ALL; do [ ! -e "$T/$kind" ] || echo "$kind"; done | tr '\n' ' ')" "prestart createRuntime createContainer "
	[ ! -e "$T/rootfs/tmp/startContainer" ] || fail "startContainer ran at create"
	[ "$(cat "$T/prestart")" -lt "$(cat "$T/createRuntime")" ] || fail "createRuntime before prestart"
	[ "$(cat "$T/createRuntime")" -lt "$(cat "$T/createContainer")" ] || fail "createContainer before createRuntime"
	oci_ok start "$c"
	[ -e "$T/poststart" ] || fail "start returned before poststart"
	wait_status "$c" stopped
	[ -s "$T/rootfs/tmp/program" ] || fail "the program ran before startContainer"
	[ ! -e "$T/poststop" ] || fail "poststop before delete"
	oci_ok delete "$c"
	[ -e "$T/poststop" ] || fail "delete returned before poststop"
}

# The namespaces and mounts are there, and the host's root is still the root.
test_hooks_of_create_run_before_the_root_is_entered() {
	need_oci
	script="pid=\$(sed 's/.*\"pid\"://; s/[^0-9].*//'); { readlink /proc/\$pid/ns/mnt; grep -c ' $T/rootfs/x ' /proc/\$pid/mountinfo; } >FILE"
	bundle b "$(every_kind "$script") | .hooks |= {prestart, createRuntime} | .process.args = [\"true\"] | .mounts += [{\"destination\": \"/x\", \"type\": \"tmpfs\", \"source\": \"t\"}]"
	bundle_root=$(cd "$T/rootfs" && pwd -P)
	sed -i "s| $T/rootfs/x | $bundle_root/x |g" "$T/b/config.json"
	mkdir -p "$T/rootfs/x"
	jq ".hooks.createContainer = [$(hook "grep -c ' $bundle_root/x ' /proc/self/mountinfo >$T/createContainer")]" "$T/b/config.json" >"$T/b/new"
	mv "$T/b/new" "$T/b/config.json"
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	for kind in prestart createRuntime; do
		[ "$(head -n 1 "$T/$kind")" != "$(readlink /proc/self/ns/mnt)" ] || fail "$kind: no mount namespace yet"
		check_eq "$(tail -n 1 "$T/$kind")" 1
	done
	check_eq "$(cat "$T/createContainer")" 1
}

test_poststart_comes_after_the_program_is_executed() {
	need_oci
	c=$(oci_id c)
	bundle b ".process.args = [\"sleep\", \"60\"] | .hooks.poststart = [$(hook "pid=\$(sed 's/.*\"pid\"://; s/[^0-9].*//'); tr '\\0' ' ' </proc/\$pid/cmdline >$T/poststart")]"
	oci_ok create --bundle "$T/b" "$c"
	oci_ok start "$c"
	check_eq "$(cat "$T/poststart")" "sleep 60 "
	oci_ok delete -f "$c"
}

test_poststop_comes_after_the_container_is_deleted() {
	need_oci
	c=$(oci_id c)
	bundle b ".process.args = [\"true\"] | .hooks.poststop = [$(hook "$OCI --root $T/state state $c >$T/poststop 2>&1; find /sys/fs/cgroup -type d -name $c >>$T/poststop")]"
	oci_ok run --bundle "$T/b" "$c"
	check_contains "$T/poststop" "does not exist"
	check_eq "$(wc -l <"$T/poststop")" 1
}

run_tests "$@"
