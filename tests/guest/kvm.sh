#!/bin/sh
# Does hardware virtualisation work here? Exit 0: a guest boots with it. That /dev/kvm can be opened does not say so:
# nested virtualisation may be refused, or slower than none. The answer is kept in build/guest until the next boot.
#
#   sh tests/guest/kvm.sh DIRECTORY       with vmlinuz and initramfs, from kernel.sh
set -u
[ -w /dev/kvm ] || exit 1
kept=$1/kvm.$(cat /proc/sys/kernel/random/boot_id)
[ ! -f "$kept" ] || exit "$(cat "$kept")"
rm -f "$1"/kvm.*
log=$(mktemp "${TMPDIR:-/tmp}/fsbox-kvm.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
# The guest finds no root, says so and powers off: that is a boot.
timeout -k 2 20 qemu-system-x86_64 -machine q35 -accel kvm -cpu host -smp 2 -m 256 -nodefaults -no-user-config -display none \
	-no-reboot -serial "file:$log" -monitor none -kernel "$1/vmlinuz" -initrd "$1/initramfs" \
	-append "console=ttyS0 panic=-1 quiet" >/dev/null 2>&1 </dev/null 9>&-
grep -q "guest: cannot mount the host's root" "$log"
status=$?
echo $status >"$kept"
exit $status
