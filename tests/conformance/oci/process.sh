#!/bin/sh
# runtime-spec, config.md: process. Which sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

# In the foreground on a terminal, whose size is what a new one has.
on_terminal() { # SCRIPT [JQ-PROGRAM]
	command -v script >/dev/null || skip "no script (Debian package bsdutils)"
	bundle tty "${2:-.} | .process.terminal = true | .process.args = [\"sh\", \"-c\", $(printf '%s' "$1" | jq -Rs .)]"
	status=0 # with an input that does not end: its end would hang up the terminal
	command sleep 2 | script -qec "$OCI --root $T/state run --bundle $T/tty $(oci_id tty)" /dev/null >"$T/out" 2>"$T/err" || status=$?
	sed 's/\r//; s/\^@//g' "$T/out" >"$T/said" # the terminal echoes the end of script's input
}

test_a_terminal_is_the_standard_streams() {
	need_oci
	on_terminal 'for fd in 0 1 2; do test -t $fd && readlink /proc/self/fd/$fd; done; ls -l /dev/console'
	check_eq "$status" 0
	check_eq "$(sed -n 1,3p "$T/said" | sort -u)" /dev/pts/0
	check_matches "$T/said" '^c.* /dev/console$'
}

test_no_terminal_is_the_default() {
	need_oci
	in_container 'test -t 0 || test -t 1 || echo none; ls /dev/console' 'del(.process.terminal)'
	check_eq "$(cat "$T/out")" none
	check_contains "$T/err" /dev/console
}

test_the_size_of_the_console_is_set() {
	need_oci
	on_terminal 'stty size' '.process.consoleSize = {"height": 25, "width": 81}'
	check_contains "$T/said" "25 81"
}

test_the_size_of_the_console_is_ignored_without_a_terminal() {
	need_oci
	in_container 'echo ran' '.process.consoleSize = {"height": 25, "width": 80}'
	check_eq "$(cat "$T/out")" ran
}

test_the_working_directory_is_absolute() {
	need_oci
	in_container pwd '.process.cwd = "/tmp"'
	check_eq "$(cat "$T/out")" /tmp
	refused '.process.cwd = "tmp"' '$.process.cwd'
	refused '.process.cwd = ""' '$.process.cwd'
	refused 'del(.process.cwd)' cwd
}

test_the_environment_is_the_listed_one() {
	need_oci
	in_container 'tr "\0" "\n" </proc/1/environ; true' '.process.env = ["PATH=/bin", "A=b=c", "EMPTY=", "HOME=/h"]'
	check_eq "$(sort "$T/out" | tr '\n' ' ')" "A=b=c EMPTY= HOME=/h PATH=/bin "
}

test_at_least_one_argument_is_required() {
	need_oci
	refused '.process.args = []' '$.process.args'
	refused 'del(.process.args)' args
}

test_the_program_is_looked_for_as_by_execvp() {
	need_oci
	rootfs "$T/rootfs"
	mkdir "$T/rootfs/first" "$T/rootfs/second"
	for place in first second; do
		printf '#!/bin/sh\necho %s $0 $1\n' "$place" >"$T/rootfs/$place/tool"
	done
	chmod 644 "$T/rootfs/first/tool"
	chmod 755 "$T/rootfs/second/tool"
	bundle b '.process.args = ["tool", "arg"] | .process.env = ["PATH=/none:/first:/second"] | .process.cwd = "/tmp"'
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	check_eq "$(cat "$T/out")" "second /second/tool arg"
	bundle b '.process.args = ["../second/tool", "arg"] | .process.cwd = "/tmp"'
	oci_ok run --bundle "$T/b" "$(oci_id c)"
	check_eq "$(cat "$T/out")" "second ../second/tool arg"
	refused '.process.args = ["nosuchtool"]' "executable file not found in"
	refused '.process.args = ["/nosuch/tool"]' "no such file or directory"
	refused '.process.args = ["/first/tool"]' "permission denied"
}

# ---- Limits ----

test_resource_limits_are_those_configured() {
	need_oci
	in_container 'cat /proc/self/limits' '.process.rlimits = [
		{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
		{"type": "RLIMIT_MSGQUEUE", "soft": 1000, "hard": 2000}, {"type": "RLIMIT_CPU", "soft": 77, "hard": 88},
		{"type": "RLIMIT_FSIZE", "soft": 1048576, "hard": 2097152}, {"type": "RLIMIT_SIGPENDING", "soft": 11, "hard": 12}]'
	check_matches "$T/out" '^Max open files +100 +200 '
	check_matches "$T/out" '^Max core file size +0 +4096 '
	check_matches "$T/out" '^Max msgqueue size +1000 +2000 '
	check_matches "$T/out" '^Max cpu time +77 +88 '
	check_matches "$T/out" '^Max file size +1048576 +2097152 '
	check_matches "$T/out" '^Max pending signals +11 +12 '
}

test_resource_limits_that_are_none_are_errors() {
	need_oci
	refused '.process.rlimits = [{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]' '$.process.rlimits[0].type'
	refused '.process.rlimits = [{"type": "NOFILE", "soft": 1, "hard": 1}]' '$.process.rlimits[0].type'
	refused '.process.rlimits = [{"soft": 1, "hard": 1}]' type
	refused '.process.rlimits = [{"type": "RLIMIT_NOFILE", "soft": 1}]' hard
}

test_the_same_limit_twice_is_an_error() {
	need_oci
	refused '.process.rlimits = [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 1, "hard": 1}, {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}]' '$.process.rlimits[2]'
}

# ---- Privileges ----

caps() { # JQ-PROGRAM: the five sets, without leading zeros
	in_container 'awk "/^Cap/ { sub(/^0+/, \"\", \$2); print \$1 \$2 }" /proc/self/status' "$1"
	check_eq "$status" 0
}

test_each_set_of_capabilities_is_the_configured_one() {
	need_oci
	caps '.process.noNewPrivileges = false | .process.user = {"uid": 1000, "gid": 1000} | .process.capabilities = {"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}'
	check_eq "$(tr '\n' ' ' <"$T/out")" "CapInh:20 CapPrm:20 CapEff:20 CapBnd:2021 CapAmb:20 "
	caps '.process.capabilities = {"bounding": ["CAP_CHOWN", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_NET_RAW"], "effective": ["CAP_CHOWN", "CAP_NET_RAW"]}'
	check_eq "$(tr '\n' ' ' <"$T/out")" "CapInh: CapPrm:2001 CapEff:2001 CapBnd:2001 CapAmb: "
}

test_a_capability_that_is_none_is_no_error() {
	need_oci
	caps '.process.capabilities = {"bounding": ["CAP_CHOWN", "CAP_OF_TOMORROW"], "permitted": ["CAP_CHOWN", "CAP_OF_TOMORROW"], "effective": ["CAP_CHOWN", "nonsense"]}'
	check_contains "$T/out" "CapBnd:1"
}

# What this process itself has not, as CAP_SYS_RESOURCE here and there, cannot be given.
test_a_capability_that_cannot_be_granted_is_no_error() {
	need_oci
	command -v setpriv >/dev/null || skip "no setpriv (Debian package util-linux)"
	bundle b '.process.args = ["grep", "CapBnd", "/proc/self/status"] | .process.capabilities = {"bounding": ["CAP_CHOWN", "CAP_SYS_TIME"], "permitted": ["CAP_CHOWN", "CAP_SYS_TIME"], "effective": ["CAP_CHOWN", "CAP_SYS_TIME"]}'
	run setpriv --bounding-set -sys_time --inh-caps -sys_time "$OCI" --root "$T/state" run --bundle "$T/b" "$(oci_id c)"
	check_eq "$status" 0
	check_matches "$T/out" '0001$'
}

test_no_new_privileges() {
	need_oci
	for value in true false; do
		in_container 'grep NoNewPrivs /proc/self/status' ".process.noNewPrivileges = $value"
		check_eq "$(tr -cd 01 <"$T/out")" "$([ "$value" = false ] || echo 1)$([ "$value" = true ] || echo 0)"
	done
}

test_the_oom_score_is_set() {
	need_oci
	in_container 'cat /proc/self/oom_score_adj' '.process.oomScoreAdj = 321'
	check_eq "$(cat "$T/out")" 321
}

test_the_oom_score_is_left_alone() {
	need_oci
	bundle b '.process.args = ["cat", "/proc/self/oom_score_adj"] | del(.process.oomScoreAdj)'
	(
		echo 77 >/proc/self/oom_score_adj
		oci_ok run --bundle "$T/b" "$(oci_id c)"
	)
	check_eq "$(cat "$T/out")" 77
}

test_a_profile_or_label_that_cannot_be_applied_is_an_error() {
	need_oci
	[ -d /sys/kernel/security/apparmor ] || refused '.process.apparmorProfile = "acme_profile"' apparmor
	[ -d /sys/fs/selinux ] || refused '.process.selinuxLabel = "system_u:system_r:svirt_lxc_net_t:s0:c124,c675"' selinux
}

# ---- Scheduling ----

# Policy, nice value and static priority of a process: proc(5), /proc/pid/stat.
sched() {
	in_container 'awk "{ sub(/.*\\) /, \"\"); print \$39, \$17, \$38 }" /proc/self/stat' "$1"
}

test_the_scheduler_is_the_configured_one() {
	need_oci
	sched '.process.scheduler = {"policy": "SCHED_BATCH", "nice": 5}'
	check_eq "$(cat "$T/out")" "3 5 0"
	sched '.process.scheduler = {"policy": "SCHED_IDLE"}'
	check_eq "$(cut -d ' ' -f 1 "$T/out")" 5
	sched '.process.scheduler = {"policy": "SCHED_OTHER", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}'
	check_eq "$status" 0
}

test_real_time_scheduling_has_its_priority() {
	need_oci
	sched '.process.scheduler = {"policy": "SCHED_FIFO", "priority": 7}'
	! grep -q "setting the scheduler" "$T/err" || skip_host "no real-time scheduling here"
	check_eq "$(cut -d ' ' -f 1,3 "$T/out")" "1 7"
}

test_values_of_the_scheduler_that_are_absent_are_zero() {
	need_oci
	bundle b '.process.args = ["awk", "{ sub(/.*\\) /, \"\"); print $39, $17, $38 }", "/proc/self/stat"] | .process.scheduler = {"policy": "SCHED_BATCH"}'
	run nice -n 9 "$OCI" --root "$T/state" run --bundle "$T/b" "$(oci_id c)"
	check_eq "$(cat "$T/out")" "3 0 0"
}

test_a_scheduler_that_is_none_is_an_error() {
	need_oci
	refused '.process.scheduler = {"policy": "SCHED_NOSUCH"}' '$.process.scheduler.policy'
	refused '.process.scheduler = {"nice": 1}' policy
	refused '.process.scheduler = {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOSUCH"]}' '$.process.scheduler.flags[0]'
}

test_the_io_priority_is_the_configured_one() {
	need_oci
	in_container 'busybox ionice' '.process.ioPriority = {"class": "IOPRIO_CLASS_BE", "priority": 6}'
	check_contains "$T/out" "best-effort: prio 6"
	in_container 'busybox ionice' '.process.ioPriority = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}'
	check_contains "$T/out" "idle"
	refused '.process.ioPriority = {"class": "IOPRIO_CLASS_NOSUCH", "priority": 0}' '$.process.ioPriority.class'
	refused '.process.ioPriority = {"class": "IOPRIO_CLASS_BE", "priority": 8}' '$.process.ioPriority.priority'
	refused '.process.ioPriority = {"class": "IOPRIO_CLASS_BE", "priority": -1}' '$.process.ioPriority.priority'
}

test_the_affinity_of_exec_is_not_the_containers() {
	need_oci
	c=$(oci_id c)
	bundle b '.process.args = ["sleep", "60"] | .process.execCPUAffinity = {"initial": "0", "final": "0"}'
	oci_ok run -d --bundle "$T/b" "$c"
	check_eq "$(grep Cpus_allowed: "/proc/$(oci_pid "$c")/status")" "$(grep Cpus_allowed: /proc/self/status)"
	echo '{"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "execCPUAffinity": {"final": "0"}}' >"$T/process"
	oci_ok exec --process "$T/process" "$c"
	check_matches "$T/out" '[^0-9]0$'
	oci_ok delete -f "$c"
}

# ---- User ----

test_the_user_and_all_groups_are_those_configured() {
	need_oci
	in_container 'awk "/^(Uid|Gid|Groups)/ { \$1 = \$1; print }" /proc/self/status' '.process.user = {"uid": 1001, "gid": 1002, "additionalGids": [5, 6, 1003]}'
	check_eq "$(sed 's/ *$//' "$T/out" | tr '\n' ';')" "Uid: 1001 1001 1001 1001;Gid: 1002 1002 1002 1002;Groups: 5 6 1003;"
}

test_the_umask_is_the_configured_one() {
	need_oci
	in_container umask '.process.user.umask = 63'
	check_eq "$(cat "$T/out")" 0077
	refused '.process.user.umask = 512' '$.process.user.umask'
}

run_tests "$@"
