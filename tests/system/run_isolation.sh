#!/bin/sh
# What a function can see and do: everything that docs/threat-model.md promises of a cell's isolation, asked from inside
# in each privilege mode.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

inspect() { # fsbox run's options: the document is $T/out
	cell_status 0 "$@" "$FUNCTIONS/inspect.so"
}

check_namespaces() {
	inspect
	for kind in pid mnt net ipc uts user cgroup; do
		inside=$(ask ".namespaces.$kind")
		check_contains "$T/out" "$kind:["
		check_ne "$inside" "$(readlink "/proc/self/ns/$kind")"
	done
	# the cell is gone, and with it everybody who was in them
	ask '.namespaces | to_entries[] | select(.key | test("^time") | not) | .value' | sort -u >"$T/ns"
	find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/*' -printf '%l\n' 2>/dev/null | sort -u | comm -12 - "$T/ns" >"$T/still"
	check [ ! -s "$T/still" ]
}
test_every_namespace_is_the_cells_own() {
	watch_world
	each_mode check_namespaces
	check_world
}

check_pid_1() {
	inspect
	check_ask .initComm fsbox-init
	check_ask .ppid 1
	check_true '.pid > 1'
	# nothing of the host, nor anything else, can be seen in /proc: init, the runtime
	check_ask '[.proc[] | select(test("^[0-9]+$"))] | length' 2
}
test_pid_1_is_the_small_init_and_only_the_cells_processes_can_be_seen() {
	each_mode check_pid_1
}

check_identity() {
	inspect
	for id in uid euid suid gid egid sgid; do
		check_ask ".$id" 993
	done
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		check_ask ".status.$set" 0000000000000000
	done
	check_ask .status.NoNewPrivs 1
	check_ask .status.Seccomp 2
	check_ask '.passwd | map(select(startswith("fsbox:x:993:993:"))) | length' 1
	[ "$MODE" = userns ] || check_ask '.groups | length' 0
}
test_the_function_is_user_993_without_capabilities_groups_or_a_way_to_get_them() {
	each_mode check_identity
}

test_supplementary_groups_of_root_are_dropped() {
	need_root
	run setpriv --groups 4,27,100 "$FSBOX" run "$FUNCTIONS/inspect.so"
	check_eq "$status" 0
	check_ask '.groups | length' 0
}

test_cells_of_root_have_ranges_of_ids_of_their_own() {
	need_root
	inspect
	check_ask '.uidMap | length' 1
	check_ask '.uidMap[0] | [scan("[0-9]+")] | "\(.[0]) \(.[2])"' "0 65536"
	check_true '.uidMap[0] | [scan("[0-9]+") | tonumber] | .[1] >= 65536'
	check_ask '.gidMap[0] | [scan("[0-9]+")] | "\(.[0]) \(.[2])"' "0 65536"
}

check_map_of_users() {
	inspect
	check_ask '.uidMap | length' 1
	check_ask '.uidMap[0] | [scan("[0-9]+")] | "\(.[0]) \(.[2])"' "993 1"
	check_ask '.status.Uid | [scan("[0-9]+")] | unique | join(" ")' 993
}
test_cells_of_others_map_one_id_only() {
	each_mode check_map_of_users user userns delegated
}

check_descriptors() {
	# 5 … 20 stand open in fsbox, the host's root among them, and fsbox must not hand them on.
	(
		exec 5</ 6</etc/passwd 7>"$T/leak" 8</proc 9</dev/null
		cell "$FUNCTIONS/inspect.so"
		check_eq "$status" 0
	)
	check_ask '[.fds | keys[] | tonumber] | sort | join(" ")' "0 1 2 3 4"
	check_ask '.fds["0"]' /dev/null
	for fd in 1 2 3 4; do
		check_true ".fds[\"$fd\"] | startswith(\"pipe:[\")"
	done
	# four different pipes, the channel's two closed by exec
	check_ask '[.fds["1"], .fds["2"], .fds["3"], .fds["4"]] | unique | length' 4
	check_ask '.fdFlags["3"].fd' 1
	check_ask '.fdFlags["4"].fd' 1
	check_ask '.fdFlags["0"].fd' 0
}
test_only_stdio_and_the_channel_are_open_although_fsbox_had_more() {
	each_mode check_descriptors
}

test_descriptors_above_the_limit_and_without_close_on_exec_are_closed_too() {
	need_root
	command -v python3 >/dev/null 2>&1 || skip "python3 opens the descriptors"
	run python3 -c '
import os, sys
for n in list(range(5, 21)) + [200, 999]:
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(fd, n, inheritable=True)
    if fd != n:
        os.close(fd)
os.execv(sys.argv[1], sys.argv[1:])' "$FSBOX" run "$FUNCTIONS/inspect.so"
	check_eq "$status" 0
	check_ask '[.fds | keys[] | tonumber] | sort | join(" ")' "0 1 2 3 4"
}

test_with_closed_stdio_the_cell_has_its_own_all_the_same() {
	need_root
	status=0
	"$FSBOX" run "$FUNCTIONS/inspect.so" <&- >"$T/out" 2>"$T/err" || status=$?
	check_eq "$status" 0
	check_ask '[.fds | keys[] | tonumber] | sort | join(" ")' "0 1 2 3 4"
	status=0
	"$FSBOX" run "$FUNCTIONS/inspect.so" <&- >"$T/out" 2>&- || status=$?
	check_eq "$status" 0
	check_ask '.fds["2"] | startswith("pipe:[")' true
	status=0
	"$FSBOX" run "$FUNCTIONS/echo.so" <&- >&- 2>&- || status=$?
	check_eq "$status" 0
}

check_environment() {
	DATABASE_PASSWORD=secret LD_PRELOAD_NOT=x HOME=/root cell --mem 256 --name my-function --env GREETING=hello \
		--env EMPTY= "$FUNCTIONS/inspect.so"
	check_eq "$status" 0
	ask '.env[]' | sort >"$T/env"
	host=$(ask .hostname)
	cat >"$T/wanted" <<-END
		AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256
		AWS_LAMBDA_FUNCTION_NAME=my-function
		AWS_LAMBDA_FUNCTION_VERSION=\$LATEST
		AWS_LAMBDA_INITIALIZATION_TYPE=on-demand
		AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/my-function
		AWS_LAMBDA_LOG_STREAM_NAME=[\$LATEST]$host
		EMPTY=
		GREETING=hello
		HOME=/tmp
		LAMBDA_RUNTIME_DIR=/var/runtime
		LAMBDA_TASK_ROOT=/var/task
		LANG=C.UTF-8
		PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin
		TZ=:UTC
		_HANDLER=inspect.so
	END
	sort "$T/wanted" | diff - "$T/env" >"$T/diff" || {
		note "$(cat "$T/diff")"
		fail "[$MODE] the environment is not the documented one"
	}
	check_lacks "$T/out" secret
}
test_the_environment_is_the_documented_one_and_nothing_of_the_callers() {
	each_mode check_environment
}

check_process() {
	(
		trap '' HUP INT TERM USR1 PIPE CHLD
		umask 077
		cd /
		cell "$FUNCTIONS/inspect.so"
		check_eq "$status" 0
	)
	check_ask .cwd /var/task
	check_ask .umask 18
	check_ask .status.SigBlk 0000000000000000
	check_ask .status.SigIgn 0000000000000000
	check_ask '.status.ShdPnd' 0000000000000000
	check_ask '.rlimits.core | join(" ")' "0 0"
	check_ask '.rlimits.nofile | join(" ")' "1024 1024"
	check_true '.sid > 0 and .sid < 10'
	check_ask .status.TracerPid 0
}
test_signals_umask_directory_session_and_limits_are_clean_whatever_fsbox_had() {
	each_mode check_process
}

test_blocked_signals_are_not_inherited() {
	need_root
	command -v python3 >/dev/null 2>&1 || skip "python3 blocks the signals"
	run python3 -c '
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM])
os.execv(sys.argv[1], sys.argv[1:])' "$FSBOX" run "$FUNCTIONS/inspect.so"
	check_eq "$status" 0
	check_ask .status.SigBlk 0000000000000000
}

check_keyring() {
	inspect --policy none
	first=$(ask .keyringSession)
	check_true '.keyringSession != -1'
	inspect --policy none
	[ "$first" -lt 0 ] || check_ne "$(ask .keyringSession)" "$first"
}
test_the_session_keyring_is_new_for_each_cell() {
	each_mode check_keyring
}

# ---- Files ----

check_files() {
	inspect
	check_ask '.root | join(" ")' "$(
		{
			echo dev etc opt proc run sys tmp usr var
			for name in bin sbin lib lib32 lib64 libx32; do
				[ ! -e "/$name" ] || echo "$name"
			done
		} | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/ $//'
	)"
	check_ask '.task | join(" ")' inspect.so
	check_ask '.tmp | length' 0
	check_ask '.sys | length' 0
	check_ask '.dev | map(select(. != "core")) | sort | join(" ")' "fd full null random shm stderr stdin stdout tty urandom zero"
	check_lacks "$T/out" shadow
	check_true '.hosts | map(test("sandbox.localdomain")) | any'
}
test_the_root_holds_what_is_documented_and_nothing_more() {
	each_mode check_files
}

check_read_only() {
	cell_status 0 "$FUNCTIONS/escape_files.so" --event '"write"'
	# every place but /tmp refuses: EROFS, EACCES or EPERM, never 0
	check_ask '[.write | to_entries[] | select(.value == 0) | .key] | join(" ")' "/dev/shm/probe /tmp/probe"
	check_true '[.write["/probe", "/usr/probe", "/etc/probe", "/var/task/probe", "/var/runtime/probe"]] | all(. == 30)'
}
test_nothing_but_tmp_can_be_written() {
	each_mode check_read_only
}

check_masks() {
	cell_status 0 "$FUNCTIONS/escape_files.so" --event '"masks"'
	# what this kernel does not have is null; what is there reads as empty or is refused
	check_ask '[.masks | to_entries[] | select(.value != null and .value > 0) | .key] | join(" ")' ""
	# EROFS, or EACCES where the file's owner decides first
	check_true '.sysctl | length > 3 and all(. == 30 or . == 13)'
}
test_what_proc_tells_of_the_machine_is_masked_and_sysctls_are_read_only() {
	each_mode check_masks
}

check_mounts() {
	inspect
	# point, options, type: of every mount, in the order of its making
	ask '.mounts[]' | awk '{ for (i = 7; i < NF; i++) if ($i == "-") break; print $5, $6, $(i + 1) }' >"$T/mounts"
	awk '
		function has(o) { return ("," $2 ",") ~ ("," o ",") }
		{ bad = "" }
		!has("nosuid") { bad = bad " no nosuid" }
		$1 == "/tmp" { if ($3 != "tmpfs" || has("ro") || !has("nodev")) bad = bad " /tmp" ; seen = 1 }
		$1 != "/tmp" && $1 !~ "^/dev/" && !has("ro") { bad = bad " not ro" }
		$1 !~ "^/(dev|proc)(/|$)" && !has("nodev") { bad = bad " no nodev" }
		$1 == "/proc" { if ($3 != "proc" || !has("noexec")) bad = bad " /proc"; proc = 1 }
		$1 == "/dev" && !has("noexec") { bad = bad " exec in /dev" }
		$1 !~ "^(/|/usr|/dev|/dev/(null|zero|full|random|urandom|tty)|/var/runtime|/var/task/inspect.so|/tmp|/proc|/proc/.*|/bin|/sbin|/lib[0-9x]*)$" { bad = bad " not in the plan" }
		bad != "" { print $0 ":" bad; n++ }
		END { if (!seen || !proc) { print "no /tmp or no /proc"; n++ } exit n > 0 }
	' "$T/mounts" >"$T/bad" || {
		note "$(cat "$T/bad")"
		fail "[$MODE] mounts are not as planned"
	}
	# private: no peer group through which a mount of the host could come in later
	check_ask '[.mounts[] | select(test(" (shared|master|propagate_from):"))] | length' 0
}
test_every_mount_is_read_only_nosuid_and_nodev_but_tmp_and_the_devices() {
	each_mode check_mounts
}

test_layers_are_merged_read_only_and_later_ones_win() {
	need_root
	mkdir -p "$T/a/lib" "$T/b/lib"
	chmod 755 "$TAP_DIR" "$T"
	echo a >"$T/a/both"
	echo a >"$T/a/lib/only-a"
	echo b >"$T/b/both"
	cell_status 0 --layer "$T/a" "$FUNCTIONS/escape_files.so" --event '"read /opt/both /opt/lib/only-a"'
	check_ask '.read["/opt/both"]' a
	check_ask '.read["/opt/lib/only-a"]' a
	cell_status 0 --layer "$T/a" --layer "$T/b" "$FUNCTIONS/escape_files.so" --event '"read /opt/both /opt/lib/only-a"'
	check_ask '.read["/opt/both"]' b
	check_ask '.read["/opt/lib/only-a"]' a
	inspect --layer "$T/a" --layer "$T/b"
	check_true '[.mounts[] | select(test(" /opt ro,nosuid,nodev"))] | length == 1'
	check_true '.env | index("LD_LIBRARY_PATH=/opt/lib") != null'
}

check_cgroup_hidden() {
	inspect
	# with limits: the cell's own group is the root of what it sees; without, at least no path of the host's above it
	if has_limits; then
		check_ask '[.cgroup[] | select(test("^[0-9]+:(memory|pids|cpu|cpu,cpuacct)?:/$") | not) | select(test(":(memory|pids|cpu|cpu,cpuacct)?:"))] | length' 0
	fi
	check_ask '[.mounts[] | select(test(" - cgroup"))] | length' 0
}
test_the_cells_group_looks_like_the_root_and_no_hierarchy_is_mounted() {
	each_mode check_cgroup_hidden
}

# ---- Network and names ----

check_net_loopback() {
	inspect
	check_ask '.interfaces | join(" ")' lo
	check_true '[.addresses[] | select(.name == "lo") | .up] | length > 0 and all'
	check_true '[.addresses[] | .family] | index(2) != null'
	cell_status 0 "$FUNCTIONS/escape_net.so"
	check_ask '.loopback' 0
	check_true '.world != 0'
	check_ask '.routes' 0
}
test_net_loopback_has_lo_up_and_no_route() {
	each_mode check_net_loopback
}

check_net_none() {
	inspect --net none
	check_ask '.interfaces | join(" ")' lo
	check_ask '[.addresses[] | select(.up)] | length' 0
	cell_status 0 --net none "$FUNCTIONS/escape_net.so"
	check_true '.loopback != 0'
	check_true '.world != 0'
}
test_net_none_has_nothing_that_is_up() {
	each_mode check_net_none
}

check_net_host() {
	inspect --net host
	check_ask '.namespaces.net' "$(readlink /proc/self/ns/net)"
	check_ask '.interfaces | sort | join(" ")' "$(for l in /sys/class/net/*; do [ ! -d "$l" ] || echo "${l##*/}"; done | sort | tr '\n' ' ' | sed 's/ $//')"
	cell_status 0 --net host "$FUNCTIONS/syscall_probe.so" --event '"socket_raw socket_packet sethostname"'
	check_true '.socket_raw != 0 and .socket_packet != 0'
}
test_net_host_shows_the_hosts_interfaces_without_any_power_over_them() {
	each_mode check_net_host
}

check_hostname() {
	inspect
	check_true '.hostname | test("^[0-9a-f]{12}$")'
	check_ne "$(ask .hostname)" "$(hostname)"
}
test_the_host_name_is_the_cells_id() {
	each_mode check_hostname
}

check_tty() {
	in_mode script -qec "'$FSBOX' run $(mode_options) '$FUNCTIONS/syscall_probe.so' --event 'tiocsti tioclinux' 2>/dev/null" /dev/null >"$T/raw" </dev/null
	tr -d '\r' <"$T/raw" | grep '^{' >"$T/out"
	check_true '.tiocsti != 0 and .tioclinux != 0'
	in_mode script -qec "'$FSBOX' run $(mode_options) '$FUNCTIONS/inspect.so' 2>/dev/null" /dev/null >"$T/raw" </dev/null
	tr -d '\r' <"$T/raw" | grep '^{' >"$T/out"
	check_ask '[.fds[] | select(test("tty|pts"))] | length' 0
	check_true '.sid == 2'
}
test_started_from_a_terminal_the_function_has_none_of_it() {
	command -v script >/dev/null 2>&1 || skip "script(1) is missing: install bsdutils"
	each_mode check_tty root user
}

run_tests "$@"
