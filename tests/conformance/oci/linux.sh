#!/bin/sh
# runtime-spec, config-linux.md: network devices, RDT, memory policy, sysctls, propagation, masked and read-only paths,
# personality. Which sentence each test stands for: cases.tsv.
FSBOX_SRC=${FSBOX_SRC:-$(cd "$(dirname "$0")/../../.." && pwd)}
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../../lib/tap.sh"
# shellcheck source=tests/lib/oci.sh
. "$(dirname "$0")/../../lib/oci.sh"

# ---- Network devices ----

need_net_devices() {
	need_oci
	"$OCI" features | jq -e '.linux.netDevices.enabled' >/dev/null || skip "this build moves no network devices"
	dev=fsn$$
	ip link add "$dev" type veth peer name "fsp$$" 2>/dev/null || skip_host "no veth"
}

test_a_network_device_comes_with_its_addresses_and_up() {
	need_net_devices
	ip link set "$dev" mtu 1400 address 02:00:00:00:00:77
	ip addr add 198.51.100.7/24 dev "$dev"
	ip addr add 2001:db8::7/64 dev "$dev" nodad
	in_container 'busybox ip addr show' ".linux.netDevices = {\"$dev\": {\"name\": \"inner0\"}}"
	! ip link del "$dev" 2>/dev/null || fail "$dev is still here"
	check_matches "$T/out" 'inner0(@[a-z0-9]+)?: <.*[,<]UP[,>].* mtu 1400'
	check_contains "$T/out" 02:00:00:00:00:77
	check_contains "$T/out" 198.51.100.7/24
	check_contains "$T/out" 2001:db8::7/64
}

test_a_network_device_keeps_its_name_by_default() {
	need_net_devices
	in_container 'ls /sys/class/net' ".linux.netDevices = {\"$dev\": {}}"
	ip link del "$dev" 2>/dev/null || :
	check_contains "$T/out" "$dev"
}

test_a_taken_name_is_an_error_but_for_a_template() {
	need_net_devices
	refused ".linux.netDevices = {\"$dev\": {\"name\": \"lo\"}}" "of that name already"
	check ip link show "$dev" >/dev/null
	in_container 'ls /sys/class/net' ".linux.netDevices = {\"$dev\": {\"name\": \"inner%d\"}}"
	ip link del "$dev" 2>/dev/null || :
	check_contains "$T/out" inner0
}

test_a_network_device_that_is_not_there_is_an_error() {
	need_net_devices
	ip link del "$dev"
	refused ".linux.netDevices = {\"$dev\": {}}" "$dev"
	check_nothing_left
}

# ---- RDT, memory policy ----

test_rdt_without_resctrl_is_an_error() {
	need_oci
	! grep -q ' resctrl ' /proc/self/mounts || skip_host "this machine has resctrl"
	refused '.linux.intelRdt = {"closID": "x", "l3CacheSchema": "L3:0=f"}' intelRdt
	refused '.linux.intelRdt = {}' intelRdt
}

test_memory_policies_are_those_that_are_listed() {
	need_oci
	"$OCI" features | jq -e '.linux.memoryPolicy.modes' >/dev/null || skip "this build has no memory policies"
	in_container 'head -n 1 /proc/self/numa_maps' '.linux.memoryPolicy = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}'
	! grep -q "Function not implemented" "$T/err" || skip_host "no NUMA here"
	check_matches "$T/out" ' bind(=static)?:0'
	refused '.linux.memoryPolicy = {"mode": "MPOL_NOSUCH"}' '$.linux.memoryPolicy.mode'
	refused '.linux.memoryPolicy = {"nodes": "0"}' mode
	refused '.linux.memoryPolicy = {"mode": "MPOL_BIND"}' memoryPolicy
	refused '.linux.memoryPolicy = {"mode": "MPOL_BIND", "nodes": "0-x"}' memoryPolicy
	refused '.linux.memoryPolicy = {"mode": "MPOL_LOCAL", "nodes": "0"}' memoryPolicy
	refused '.linux.memoryPolicy = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOSUCH"]}' '$.linux.memoryPolicy.flags'
}

# ---- Sysctls ----

test_sysctls_are_set_in_the_container_alone() {
	need_oci
	before=$(cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni)
	in_container 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni' '.linux.sysctl = {"net.ipv4.ip_forward": "1", "net.core.somaxconn": "257", "kernel/shmmni": "77"}'
	check_eq "$(tr '\n' ' ' <"$T/out")" "1 257 77 "
	check_eq "$(cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni)" "$before"
	refused '.linux.sysctl = {"net.nosuch": "1"}' net.nosuch
	check_nothing_left
}

# ---- Propagation ----

root_tags() { # VALUE: what mountinfo says of the container's root
	in_container 'cat /proc/self/mountinfo' ".linux.rootfsPropagation = \"$1\""
	check_eq "$status" 0
	awk '$5 == "/" { for (i = 7; $i != "-"; i++) { sub(":.*", "", $i); printf "%s ", $i } }' "$T/out"
}

test_the_propagation_of_the_root_is_the_configured_one() {
	need_oci
	check_eq "$(root_tags private)" ""
	check_eq "$(root_tags unbindable)" "unbindable "
	check_contains "$(root_tags shared >"$T/tags" && echo "$T/tags")" shared
	refused '.linux.rootfsPropagation = "sideways"' rootfsPropagation
}

# A mount that is made on the host below a folder that the container has.
arrives() { # VALUE: whether it comes through
	mkdir -p "$T/src"
	mount -t tmpfs none "$T/src"
	mount --make-shared "$T/src"
	mkdir "$T/src/sub"
	c=$(oci_id c)
	bundle b ".process.args = [\"sleep\", \"60\"] | .linux.rootfsPropagation = \"$1\" | .mounts += [{\"destination\": \"/tmp\", \"source\": \"$T/src\", \"options\": [\"rbind\"${2-}]}]"
	oci_ok run -d --bundle "$T/b" "$c"
	mount -t tmpfs late "$T/src/sub"
	oci exec "$c" grep -c ' /tmp/sub ' /proc/self/mountinfo # status 1 when there is none
	cat "$T/out"
	"$OCI" --root "$T/state" delete -f "$c"
	umount "$T/src/sub" "$T/src"
}

test_a_slave_root_hears_of_the_host_and_a_private_one_does_not() {
	need_oci
	check_eq "$(arrives slave ', "rslave"')" 1
	check_eq "$(arrives private ', "rprivate"')" 0
}

# ---- Masked and read-only paths ----

test_masked_paths_cannot_be_read() {
	need_oci
	rootfs "$T/rootfs"
	mkdir "$T/rootfs/secret"
	echo hidden >"$T/rootfs/secret/file"
	echo hidden >"$T/rootfs/plain"
	in_container 'cat /plain; ls /secret; cat /secret/file; touch /secret/x' '.root.readonly = false | .linux.maskedPaths = ["/plain", "/secret", "/nosuch"]'
	check_eq "$(cat "$T/out")" ""
	check_matches "$T/err" "/secret/file'?: No such file"
	check_contains "$T/err" "/secret/x: Read-only file system"
	check_eq "$(cat "$T/rootfs/plain")" hidden
	refused '.linux.maskedPaths = ["proc/kcore"]' maskedPaths
	refused '.linux.maskedPaths = [""]' maskedPaths
}

test_read_only_paths_cannot_be_written() {
	need_oci
	rootfs "$T/rootfs"
	mkdir "$T/rootfs/folder"
	echo text >"$T/rootfs/plain"
	in_container 'cat /plain; echo x >/plain; touch /folder/x; touch /free; echo 1 >/proc/sys/net/ipv4/ip_forward' '.root.readonly = false | .linux.readonlyPaths = ["/plain", "/folder", "/nosuch", "/proc/sys"]'
	check_eq "$(cat "$T/out")" text
	check_eq "$(grep -c 'Read-only file system' "$T/err")" 3
	[ -e "$T/rootfs/free" ] || fail "the rest is read-only too"
	refused '.linux.readonlyPaths = ["proc/sys"]' readonlyPaths
}

# ---- Personality, labels ----

test_the_personality_is_the_configured_one() {
	need_oci
	in_container 'busybox uname -m' '.linux.personality = {"domain": "LINUX32"}'
	case $(uname -m) in
	x86_64) check_eq "$(cat "$T/out")" i686 ;;
	*) check_eq "$status" 0 ;;
	esac
	in_container 'busybox uname -m' '.linux.personality = {"domain": "LINUX"}'
	check_eq "$(cat "$T/out")" "$(uname -m)"
	refused '.linux.personality = {"domain": "BSD"}' domain
	refused '.linux.personality = {}' domain
	refused '.linux.personality = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}' ADDR_NO_RANDOMIZE
}

test_a_label_of_mounts_that_cannot_be_applied_is_an_error() {
	need_oci
	[ ! -d /sys/fs/selinux ] || skip_host "this machine has SELinux"
	refused '.linux.mountLabel = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"' "selinux label"
}

run_tests "$@"
