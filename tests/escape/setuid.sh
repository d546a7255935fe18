#!/bin/sh
# Bug class: programs with the set-user-id bit in a cell. no_new_privs and nosuid mounts: they gain nothing, whoever made
# them.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

executes() { # TEXT options: what escape_exec says of that command
	cell_status 0 --policy "$1" --layer "$T/layer" "$FUNCTIONS/escape_exec.so" --event "\"$2\""
}

check_layer() {
	rm -rf "$T/layer"
	mkdir -p "$T/layer/bin"
	chmod 755 "$TAP_DIR" "$T" "$T/layer" "$T/layer/bin"
	cp /usr/bin/id "$T/layer/bin/id"
	chown 0:0 "$T/layer/bin/id"
	chmod 6755 "$T/layer/bin/id"
	for policy in default none; do
		executes "$policy" "/opt/bin/id -u"
		check_ask .out "$(printf '993\n')"
		check_ask .status 0
		executes "$policy" "/opt/bin/id -g"
		check_ask .out "$(printf '993\n')"
	done
}
test_a_set_user_id_root_program_in_a_layer_runs_as_the_function() {
	watch_world
	need_root
	each_mode check_layer
	check_world
}

check_userland() {
	rm -rf "$T/layer"
	mkdir -p "$T/layer"
	chmod 755 "$TAP_DIR" "$T" "$T/layer"
	for program in su mount umount passwd newgrp chsh gpasswd sudo pkexec fusermount3 newuidmap; do
		[ -u "/usr/bin/$program" ] || continue
		case $program in
		su) words="/usr/bin/su -c /usr/bin/id root" ;;
		mount) words="/usr/bin/mount -t tmpfs none /tmp" ;;
		umount) words="/usr/bin/umount /tmp" ;;
		newuidmap) words="/usr/bin/newuidmap 1 0 0 1" ;;
		*) words="/usr/bin/$program root" ;;
		esac
		executes none "$words"
		check_true '.status != 0'
		check_lacks "$T/out" "uid=0"
	done
}
test_the_hosts_own_set_user_id_programs_gain_nothing() {
	watch_world
	each_mode check_userland
	check_world
}

test_a_program_with_file_capabilities_gains_none() {
	need_root
	command -v setcap >/dev/null 2>&1 || skip "setcap is missing: install libcap2-bin"
	watch_world
	mkdir -p "$T/layer"
	chmod 755 "$TAP_DIR" "$T" "$T/layer"
	cp /bin/cat "$T/layer/cat"
	setcap cap_dac_override,cap_sys_admin+ep "$T/layer/cat" || skip "no file capabilities on this file system"
	executes none "/opt/cat /proc/self/status"
	check_ask '.out | capture("CapEff:\t(?<c>[0-9a-f]+)").c' 0000000000000000
	check_world
}

run_tests "$@"
