#!/bin/sh
# Bug class: a path that is changed between the check and the use (CVE-2021-30465 and its kin). Somebody who may write the
# directory of TARGET, or of a layer, exchanges it for links to the host's files while fsbox starts.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

# Exchanges two names as fast as it can until it is killed (renameat2(2), RENAME_EXCHANGE).
swapper() { # A B
	perl -e 'my ($a, $b) = @ARGV; 1 while syscall(316, -100, $a, -100, $b, 2) == 0; die "renameat2: $!\n"' "$1" "$2" &
	swap_pid=$!
}

test_a_target_exchanged_for_a_secret_is_never_read_and_never_half_checked() {
	need_root
	[ "$(uname -m)" = x86_64 ] || skip "the number of renameat2 is that of x86-64"
	watch_world
	chmod 755 "$TAP_DIR" "$T"
	mkdir "$T/theirs"
	cp "$FUNCTIONS/echo.so" "$T/theirs/handler.so"
	echo "secret of the host" >"$T/secret"
	chmod 600 "$T/secret"
	ln -s "$T/secret" "$T/theirs/other"
	swapper "$T/theirs/handler.so" "$T/theirs/other"
	good=0 refused=0
	for i in $(seq 1 150); do
		cell "$T/theirs/handler.so" --event '"x"'
		check_lacks "$T/out" secret
		check_lacks "$T/err" "secret of"
		case $status in
		0) good=$((good + 1)) && check_eq "$(cat "$T/out")" '"x"' ;;
		125 | 126) refused=$((refused + 1)) && check_matches "$T/err" '^fsbox: ' ;;
		*)
			kill "$swap_pid"
			show
			fail "status $status: what ran is not what was checked"
			;;
		esac
	done
	kill "$swap_pid"
	wait "$swap_pid" 2>/dev/null || :
	note "$good ran, $refused were refused"
	check [ "$good" -gt 0 ]
	check [ "$refused" -gt 0 ]
	check_world
}

test_a_target_exchanged_for_a_directory_or_a_link_to_one_is_never_mounted() {
	need_root
	[ "$(uname -m)" = x86_64 ] || skip "the number of renameat2 is that of x86-64"
	watch_world
	chmod 755 "$TAP_DIR" "$T"
	mkdir "$T/theirs"
	cp "$FUNCTIONS/inspect.so" "$T/theirs/handler.so"
	ln -s / "$T/theirs/other"
	swapper "$T/theirs/handler.so" "$T/theirs/other"
	for i in $(seq 1 100); do
		cell "$T/theirs/handler.so"
		case $status in
		0) check_ask '.task | join(" ")' handler.so ;;
		125 | 126) ;;
		*)
			kill "$swap_pid"
			show
			fail "status $status"
			;;
		esac
	done
	kill "$swap_pid"
	wait "$swap_pid" 2>/dev/null || :
	check_world
}

# A rootfs or a layer made by somebody else: links in it are taken inside the cell, not on the host.
check_links() {
	user_dirs
	rm -rf "$T/layer"
	mkdir -p "$T/layer"
	ln -s /etc/shadow "$T/layer/shadow"
	ln -s ../../../../../../etc/shadow "$T/layer/up"
	ln -s / "$T/layer/root"
	chmod 755 "$T/layer"
	cell_status 0 --layer "$T/layer" "$FUNCTIONS/escape_files.so" --event '"read /opt/shadow /opt/up /opt/root/etc/shadow /opt/root/etc/passwd"'
	check_ask '.read["/opt/shadow"]' -2
	check_ask '.read["/opt/up"]' -2
	check_ask '.read["/opt/root/etc/shadow"]' -2
	check_true '.read["/opt/root/etc/passwd"] | startswith("root:x:0:0:root:/:/usr/sbin/nologin\nfsbox:")'
}
test_links_in_a_layer_lead_nowhere_on_the_host() {
	watch_world
	each_mode check_links
	check_world
}

test_mount_points_that_are_links_in_a_rootfs_do_not_lead_out() {
	need_root
	watch_world
	chmod 755 "$TAP_DIR" "$T"
	mkdir -p "$T/rootfs" "$T/victim"
	# all of the host's userland by links, and every place where fsbox mounts something leads to the victim
	mkdir "$T/rootfs/usr"
	for name in lib lib64 bin; do
		cp -a "/$name" "$T/rootfs/$name" 2>/dev/null || :
	done
	for name in proc dev tmp var sys etc opt; do
		ln -s "$T/victim" "$T/rootfs/$name"
	done
	cell --rootfs "$T/rootfs" "$FUNCTIONS/echo.so"
	# without a libc in it the runtime cannot start; that is not the question here
	check_ne "$status" 139
	check_eq "$(find "$T/victim" | wc -l)" 1
	check_world
}

test_a_state_directory_that_belongs_to_somebody_else_is_refused() {
	need_root
	user_dirs
	mkdir "$T/xdg/fsbox"
	chown 54321 "$T/xdg/fsbox"
	MODE=user
	cell "$FUNCTIONS/echo.so"
	check_eq "$status" 125
	check_contains "$T/err" "state directory"
	check_contains "$T/err" "hint:"
	rmdir "$T/xdg/fsbox"
	ln -s /etc "$T/xdg/fsbox"
	chown -h "$CELL_USER" "$T/xdg/fsbox"
	cell "$FUNCTIONS/echo.so"
	check_eq "$status" 125
	check_contains "$T/err" "state directory"
}

run_tests "$@"
