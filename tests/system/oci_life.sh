#!/bin/sh
# The life of a container as runtime-spec has it (runtime.md), and how fsbox-oci answers who calls it.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../lib/oci.sh"

test_a_container_goes_through_its_states() {
	need_oci
	bundle b '.process.args = ["sh", "-c", "echo started; exec sleep 60"]'
	c=$(oci_id c)
	oci_ok create --bundle "$T/b" --pid-file "$T/pid" "$c"
	check_eq "$(oci_status "$c")" created
	check_eq "$("$OCI" --root "$T/state" state "$c" | jq -r .pid)" "$(cat "$T/pid")"
	oci_ok start "$c"
	check_eq "$(oci_status "$c")" running
	oci_ok pause "$c"
	check_eq "$(oci_status "$c")" paused
	oci_ok resume "$c"
	check_eq "$(oci_status "$c")" running
	oci delete "$c"
	check_eq "$status" 1
	check_contains "$T/err" "not stopped"
	oci_ok kill "$c" KILL
	wait_status "$c" stopped
	oci_ok delete "$c"
	oci state "$c"
	check_eq "$status" 1
	check_contains "$T/err" "does not exist"
	check_nothing_left
}

test_create_does_not_run_the_program() {
	need_oci
	bundle b '.process.args = ["touch", "/ran"] | .root.readonly = false'
	c=$(oci_id c)
	oci_ok create --bundle "$T/b" "$c"
	[ ! -e "$T/rootfs/ran" ] || fail "the program ran"
	oci_ok start "$c"
	wait_status "$c" stopped
	[ -e "$T/rootfs/ran" ] || fail "the program did not run"
	oci_ok delete "$c"
	check_nothing_left
}

test_what_is_not_allowed_in_a_state_changes_nothing() {
	need_oci
	bundle b '.process.args = ["sleep", "60"]'
	c=$(oci_id c)
	oci_ok create --bundle "$T/b" "$c"
	oci create --bundle "$T/b" "$c"
	check_eq "$status" 1
	check_contains "$T/err" "container with given ID already exists"
	oci_ok start "$c"
	oci start "$c"
	check_eq "$status" 1
	check_eq "$(oci_status "$c")" running
	oci resume "$c"
	check_eq "$status" 1
	check_contains "$T/err" "container not paused"
	oci_ok kill "$c" 9
	wait_status "$c" stopped
	oci kill "$c" TERM
	check_eq "$status" 1
	check_contains "$T/err" "container not running"
	oci start "$c"
	check_eq "$status" 1
	oci_ok delete "$c"
	check_nothing_left
}

# What was paused before its start waits for two words, and is not forgotten in between.
test_a_created_container_is_paused_and_resumed() {
	need_oci
	bundle b '.process.args = ["sleep", "60"]'
	c=$(oci_id c)
	oci_ok create --bundle "$T/b" "$c"
	oci_ok pause "$c"
	check_eq "$(oci_status "$c")" paused
	oci start "$c"
	check_eq "$status" 1
	check_contains "$T/err" paused
	oci_ok resume "$c"
	check_eq "$(oci_status "$c")" created
	oci_ok start "$c"
	check_eq "$(oci_status "$c")" running
	oci_ok delete --force "$c"
	oci_ok create --bundle "$T/b" "$c"
	oci_ok pause "$c"
	oci_ok delete --force "$c"
	check_nothing_left
}

test_delete_force_does_not_wait_for_a_hook_that_hangs() {
	need_oci
	printf '#!/bin/sh\necho $$ >%s/hook\nexec sleep 600\n' "$T" >"$T/hang"
	chmod +x "$T/hang"
	for kind in prestart createRuntime poststart; do
		rm -f "$T/hook"
		bundle b ".process.args = [\"sleep\", \"60\"] | .hooks.$kind = [{\"path\": \"$T/hang\"}]"
		c=$(oci_id c)
		if [ "$kind" = poststart ]; then
			oci_ok create --bundle "$T/b" "$c"
			"$OCI" --root "$T/state" start "$c" </dev/null >/dev/null 2>"$T/log" &
		else
			"$OCI" --root "$T/state" create --bundle "$T/b" "$c" </dev/null >/dev/null 2>"$T/log" &
		fi
		maker=$!
		for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			[ ! -s "$T/hook" ] || break
			command sleep 0.1
		done
		case $(oci_status "$c") in
		creating | running) ;;
		*) fail "it is $(oci_status "$c")" ;;
		esac
		run timeout 60 "$OCI" --root "$T/state" delete --force "$c"
		kill "$(cat "$T/hook")" 2>/dev/null && fail "the hook of $kind was left"
		wait "$maker" && fail "its maker succeeded"
		check_eq "$status" 0
		check_nothing_left
	done
}

test_run_gives_the_programs_status_and_streams() {
	need_oci
	in_container 'echo out; echo err >&2; exit 7'
	check_eq "$status" 7
	check_eq "$(cat "$T/out")" out
	check_eq "$(cat "$T/err")" err
	in_container 'kill -9 $$; exit 0'
	check_eq "$status" 0 # PID 1 is immune to what its own namespace sends
	check_nothing_left
}

test_options_stand_anywhere_and_with_one_or_two_dashes() {
	need_oci
	bundle b '.process.args = ["true"]'
	c=$(oci_id c)
	oci_ok create "$c" -bundle "$T/b" -no-pivot=false --no-new-keyring
	run "$OCI" -root "$T/state" delete "$c" -f
	check_eq "$status" 0
	oci_ok run -b "$T/b" -no-subreaper "$c"
	oci run --bogus "$c"
	check_eq "$status" 1
	check_contains "$T/err" "--bogus"
	check_nothing_left
}

test_delete_force_ends_what_is_there_and_accepts_what_is_not() {
	need_oci
	bundle b '.process.args = ["sleep", "60"]'
	c=$(oci_id c)
	oci_ok run --bundle "$T/b" --detach "$c"
	oci_ok delete --force "$c"
	oci_ok delete --force "$c"
	mkdir -p "$T/state/$c" # half made
	oci_ok delete --force "$c"
	mkdir -p "$T/state/$c"
	echo '{' >"$T/state/$c/state.json"
	oci_ok delete --force "$c"
	check_nothing_left
}

test_a_failing_create_leaves_nothing() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["nosuch"]'
	oci create --bundle "$T/b" "$c"
	check_eq "$status" 1
	check_contains "$T/err" "executable file not found in"
	check_eq "$(wc -l <"$T/err")" 1
	bundle b '.process.args = ["/nosuch/program"]'
	oci create --bundle "$T/b" "$c"
	check_contains "$T/err" "no such file or directory"
	bundle b '.mounts += [{"destination": "/x", "type": "bind", "source": "/nosuch", "options": ["bind"]}]'
	oci create --bundle "$T/b" "$c"
	check_eq "$status" 1
	check_contains "$T/err" "/nosuch"
	check_nothing_left
}

test_errors_are_one_line_of_json_in_the_log() {
	need_oci
	oci --log "$T/log" --log-format json state nosuch
	check_eq "$status" 1
	check_eq "$(wc -l <"$T/log")" 1
	check_eq "$(jq -r .level "$T/log")" error
	check_contains "$T/log" "does not exist"
	check jq -e '.time' "$T/log"
	oci --log-format=json state nosuch
	check_eq "$(jq -r .msg "$T/err")" 'container "nosuch" does not exist'
}

test_exec_joins_the_container() {
	need_oci
	bundle b '.process.args = ["sleep", "60"] | .hostname = "inner"'
	c=$(oci_id c)
	oci_ok run --bundle "$T/b" --detach "$c"
	oci exec "$c" sh -c 'hostname; readlink /proc/self/ns/mnt; exit 5'
	check_eq "$status" 5
	check_contains "$T/out" inner
	pid=$("$OCI" --root "$T/state" state "$c" | jq -r .pid)
	check_contains "$T/out" "$(readlink "/proc/$pid/ns/mnt")"
	oci_ok exec -e A=b --cwd /tmp --user 1000:1001 "$c" sh -c 'echo $A; pwd; id'
	check_eq "$(head -n 2 "$T/out" | tr '\n' ' ')" "b /tmp "
	check_contains "$T/out" "uid=1000(ada) gid=1001"
	echo '{"args": ["id"], "cwd": "/", "user": {"uid": 7, "gid": 8, "additionalGids": [9]}}' >"$T/process"
	oci_ok exec --process "$T/process" "$c"
	check_contains "$T/out" "uid=7 gid=8 groups=9"
	oci exec "$c" nosuch
	check_eq "$status" 255
	check_contains "$T/err" "executable file not found in"
	oci_ok ps --format json "$c"
	check_eq "$(jq 'length' "$T/out")" 1
	oci_ok delete -f "$c"
	check_nothing_left
}

test_hooks_run_in_order_with_the_state() {
	need_oci
	# Those of the container's namespaces see its own /tmp once its root is there.
	hook() { # NAME WHERE
		printf '.hooks.%s = [{"path": "/bin/sh", "args": ["sh", "-c", "echo %s $(cat) >>%s"], "env": ["PATH=/bin:/usr/bin"]}] | ' "$1" "$1" "$2"
	}
	bundle b "$(for h in prestart createRuntime createContainer poststart poststop; do hook "$h" "$T/hooks"; done; hook startContainer /tmp/hooks) .process.args = [\"cat\", \"/tmp/hooks\"] | .root.readonly = false"
	oci run --bundle "$T/b" "$(oci_id h)"
	check_eq "$status" 0
	check_contains "$T/out" startContainer
	check_eq "$(cut -d ' ' -f 1 "$T/hooks" | tr '\n' ' ')" "prestart createRuntime createContainer poststart poststop "
	check_eq "$(sed 's/^[a-zA-Z]* //' "$T/hooks" | jq -r .id | sort -u)" "$(oci_id h)"
	check_eq "$(sed -n 's/^createRuntime //p' "$T/hooks" | jq '.pid > 0')" true
	bundle b '.hooks.createRuntime = [{"path": "/bin/false"}]'
	oci run --bundle "$T/b" "$(oci_id h)"
	check_eq "$status" 1
	check_contains "$T/err" "/bin/false"
	bundle b '.hooks.createRuntime = [{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}]'
	oci run --bundle "$T/b" "$(oci_id h)"
	check_eq "$status" 1
	check_contains "$T/err" "longer than 1 s"
	check_nothing_left
}

# Before its program is executed the container's process runs ours, which others in the container can open by /proc/PID/exe.
# What runs cannot be written; so the attacker waits until nobody runs it any more. Hence a copy that only we run.
test_our_own_program_cannot_be_written_through_a_container() {
	need_oci
	cp "$OCI" "$T/copy"
	chmod 755 "$T/copy"
	bundle b '.process.args = ["true"]'
	c=$(oci_id c)
	OCI=$T/copy oci_ok create --bundle "$T/b" --pid-file "$T/pid" "$c"
	exec 8<"/proc/$(cat "$T/pid")/exe"
	oci_ok delete -f "$c"
	run sh -c ': >>/proc/self/fd/8'
	exec 8<&-
	check_matches "$T/err" 'Read-only file system|Operation not permitted'
	check_nothing_left
}

test_version_features_and_spec() {
	need_oci
	run "$OCI" --version
	check_eq "$(wc -l <"$T/out")" 4
	check_matches "$T/out" '^spec: 1\.'
	check_matches "$T/out" '^\+CAP'
	run "$OCI" features
	check jq -e '.linux.namespaces | index("time")' "$T/out"
	check jq -e '.mountOptions | index("rro")' "$T/out"
	mkdir "$T/s"
	run "$OCI" spec -b "$T/s"
	check_eq "$status" 0
	run "$OCI" spec -b "$T/s"
	check_eq "$status" 1
	check jq -e .ociVersion "$T/s/config.json"
}

run_tests "$@"
