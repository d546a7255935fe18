#!/bin/sh
# Bug class: a directory of the host left open (CVE-2016-9962, CVE-2024-21626). fsbox is started with such descriptors, and
# with the host's root as its working directory; the function climbs from everything that it has.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

check_climb() {
	for policy in default none; do
		(
			cd /
			exec 5</ 6</etc 7</proc 8</proc/self/ns 9</sys/fs/cgroup
			cell --policy "$policy" "$FUNCTIONS/escape_files.so" --event '"climb"'
			check_eq "$status" 0
		)
		check_true '.climb | length > 0'
		check_ask '[.climb | to_entries[] | select(.value == 0) | .key] | join(", ")' ""
	done
}
test_no_descriptor_of_the_function_leads_to_the_hosts_files() {
	watch_world
	each_mode check_climb
	check_world
}

check_working_directory() {
	cell_status 0 "$FUNCTIONS/escape_files.so" --event '"read ../../../../../../etc/shadow ../../etc/passwd /proc/self/cwd/../../../etc/shadow /proc/1/root/etc/shadow /proc/1/cwd/../../etc/shadow"'
	check_ask '.read["../../../../../../etc/shadow"]' -2
	check_ask '.read["/proc/self/cwd/../../../etc/shadow"]' -2
	check_true '.read["/proc/1/root/etc/shadow"] < 0 and .read["/proc/1/cwd/../../etc/shadow"] < 0'
	check_true '.read["../../etc/passwd"] | startswith("root:x:0:0:root:/:/usr/sbin/nologin\nfsbox:")'
}
test_the_working_directory_leads_to_the_cells_root_only() {
	watch_world
	each_mode check_working_directory
	check_world
}

check_secret() {
	echo "secret of the host" >"$T/secret"
	chmod 644 "$T/secret"
	chmod 755 "$TAP_DIR" "$T"
	cell_status 0 "$FUNCTIONS/escape_files.so" --event "\"read $T/secret /root/.bashrc /home /boot /var/log/dpkg.log /etc/shadow /etc/hostname /var/lib/dpkg/status\""
	check_ask '[.read[] | select(type != "number")] | length' 0
	check_lacks "$T/out" "secret of the host"
}
test_the_hosts_files_have_no_name_in_a_cell() {
	watch_world
	each_mode check_secret
	check_world
}

run_tests "$@"
